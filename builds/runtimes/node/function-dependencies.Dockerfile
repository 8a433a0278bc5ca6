# A Node function with a package.json, which decides, with its lock, whether the layer of dependencies is made anew.
ARG BASE
FROM ${BASE}
USER 0:0
WORKDIR /function
COPY function/package*.json function/.npmrc* /function/
RUN if [ -f package-lock.json ]; then install=ci; else install=install; fi \
    && npm "$install" --omit=dev --no-audit --no-fund --no-update-notifier --cache /tmp/npm \
    && rm -rf /tmp/npm
USER 65532:65532
COPY function/ /function/
