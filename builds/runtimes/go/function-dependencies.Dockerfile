# A Go function with a go.mod, which decides, with its go.sum, whether the layer of modules is made anew.
ARG BASE
FROM ${BASE} AS dependencies
COPY function/go.mod function/go.sum* /function/
WORKDIR /function
RUN ["go", "mod", "download"]

FROM dependencies AS compiled
WORKDIR /runtime
COPY entrypoint /
COPY function/ /function/
RUN ["/runtime/bin/compile", "/function", "@/entrypoint", "/runtime/image/runtime/serve"]

FROM scratch
COPY --from=compiled /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=compiled /runtime/image/ /
COPY function/ /function/
WORKDIR /function
USER 65532:65532
ENTRYPOINT ["/runtime/serve"]
