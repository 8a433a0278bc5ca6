# The dependencies of a Python function, upon the base. Nothing but the lists of packages is there when they are installed.
ARG BASE
FROM ${BASE}
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_CONFIG_FILE
ARG PIP_CERT
ARG NETRC
ARG SSL_CERT_FILE
USER 0:0
COPY function/requirements*.txt /dependencies/
RUN python3 -m pip install --no-cache-dir --disable-pip-version-check --no-input --root-user-action=ignore \
    --target /dependencies --requirement /dependencies/requirements.txt
USER 65532:65532
