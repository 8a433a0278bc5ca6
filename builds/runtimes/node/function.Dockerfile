# A Node function without a package.json. Nothing is run, so that a builder need not even unpack the base.
ARG BASE
FROM ${BASE}
COPY function/ /function/
