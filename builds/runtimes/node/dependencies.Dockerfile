# The dependencies of a Node function, upon the base. Nothing but the lists of packages is there when they are installed.
ARG BASE
FROM ${BASE}
ARG NPM_CONFIG_REGISTRY
ARG NPM_CONFIG_USERCONFIG
ARG NODE_EXTRA_CA_CERTS
USER 0:0
WORKDIR /function
COPY function/package*.json function/npm-shrinkwrap*.json function/.npmrc* /function/
RUN if [ -f npm-shrinkwrap.json ] || [ -f package-lock.json ]; then install=ci; else install=install; fi \
    && NODE_DISABLE_COMPILE_CACHE=1 npm "$install" --omit=dev --no-audit --no-fund --no-update-notifier --cache /tmp/npm \
    && rm -rf /tmp/npm
USER 65532:65532
