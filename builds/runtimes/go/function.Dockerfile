# A Go function: its modules fetched where it has a go.mod, compiled upon the base, then alone in an image of its own.
# The entrypoint is copied with go.mod since there may be none, and COPY needs a file.
ARG BASE
FROM ${BASE} AS dependencies
ARG BUILD_GOPROXY
ARG GOPRIVATE
ARG GONOSUMDB
ARG NETRC
ARG SSL_CERT_FILE
COPY entrypoint function/go.mod* function/go.sum* /modules/
RUN ["/runtime/bin/compile", "/modules"]

FROM dependencies AS compiled
ARG BUILD_GOPROXY
ARG GOPRIVATE
ARG GONOSUMDB
ARG NETRC
ARG SSL_CERT_FILE
COPY function/ /function/
RUN ["/runtime/bin/compile", "/function", "@/modules/entrypoint", "/runtime/image/runtime/serve"]

FROM scratch
COPY --from=compiled /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=compiled /runtime/image/ /
COPY function/ /function/
WORKDIR /function
USER 65532:65532
ENTRYPOINT ["/runtime/serve"]
