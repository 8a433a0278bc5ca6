# The code of a Node function, upon the base or its dependencies. Nothing is run: it is one layer more.
ARG BASE
FROM ${BASE}
COPY function/ /function/
