# A Python function with a requirements.txt, which alone decides whether the layer of dependencies is made anew.
ARG BASE
FROM ${BASE}
USER 0:0
COPY function/requirements*.txt /dependencies/
RUN python3 -m pip install --no-cache-dir --disable-pip-version-check --no-input --root-user-action=ignore \
    --target /dependencies --requirement /dependencies/requirements.txt
USER 65532:65532
COPY function/ /function/
