# A Node function without a package.json. Nothing is run: it is one layer more upon the base.
ARG BASE
FROM ${BASE}
COPY function/ /function/
