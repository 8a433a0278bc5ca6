# What clones git repositories, in a build's Pod: the product's image with git and ssh beside it. deploy/images.sh builds it.
ARG PRODUCT
ARG BASE=python:3.11-slim
FROM ${PRODUCT} AS product

FROM ${BASE}
# ssh asks for the name of whoever runs it
RUN apt-get update -q && apt-get install -q -y --no-install-recommends git openssh-client ca-certificates \
 && rm -rf /var/lib/apt/lists/* && echo "git:x:65532:65532::/clone:/usr/sbin/nologin" >>/etc/passwd
COPY --from=product /opt/knative-lambda /opt/knative-lambda
COPY --from=product /app /app
ENV PYTHONPATH=/app:/opt/knative-lambda PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /app
USER 65532:65532
