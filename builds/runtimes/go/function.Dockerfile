# A Go function without a go.mod: compiled upon the base, then alone in an image of its own.
ARG BASE
FROM ${BASE} AS compiled
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
