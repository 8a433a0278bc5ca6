#!/usr/bin/env bash
# Builds the product's image and the runtimes' base images on the current cluster, with Kaniko, and pushes them to
# $REGISTRY. A tag is the hash of everything that goes into its image, so what is there already is not built again.
# Writes the references, by digest, to $IMAGES_FILE. Called by install.sh.
#
# Needs REGISTRY S3_ENDPOINT S3_ACCESS_KEY S3_SECRET_KEY KANIKO_IMAGE PYTHON_BASE NODE_BASE GO_BASE (tests/cluster/env.sh
# has them); takes IMAGES, the names of those wanted, and PIP_INDEX_URL and GOPROXY, where packages come from.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
IMAGES=${IMAGES:-knative-lambda runtime-python runtime-node runtime-go}
IMAGES_FILE=${IMAGES_FILE:-.knative-lambda/images.env}
bucket=knative-lambda-images
namespace=knative-lambda-images-$RANDOM

say() { printf '==> %s\n' "$*" >&2; }
fail() {
  printf '%s\n' "$@" >&2
  exit 1
}
for name in REGISTRY S3_ENDPOINT S3_ACCESS_KEY S3_SECRET_KEY KANIKO_IMAGE PYTHON_BASE NODE_BASE GO_BASE; do
  [ -n "${!name:-}" ] || fail "$name is not set; for the test cluster: . tests/cluster/env.sh"
done

work=$(mktemp -d)
made=
cleanup() {
  rm -rf "$work"
  [ -z "$made" ] || kubectl delete namespace "$namespace" --wait=false >/dev/null 2>&1 || true
}
trap cleanup EXIT

s3() { # the key stays off the command line, where every process of the machine could read it
  curl -sS --fail --config <(printf 'user = "%s:%s"\n' "$S3_ACCESS_KEY" "$S3_SECRET_KEY") \
    --aws-sigv4 aws:amz:us-east-1:s3 -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@"
}
scheme_of() { if curl -s -o /dev/null --max-time 5 "http://$1/v2/"; then echo http; else echo https; fi; }
digest_of() { # reference: prints its digest, or nothing where the registry does not have it
  local host=${1%%/*} path=${1#*/} tag=latest
  case $path in
    *@*) echo "${path##*@}" && return ;;
    *:*) tag=${path##*:} path=${path%:*} ;;
  esac
  curl -sI --max-time 20 -H 'Accept: application/vnd.oci.image.index.v1+json' -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
    -H 'Accept: application/vnd.docker.distribution.manifest.list.v2+json' \
    -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
    "$(scheme_of "$host")://$host/v2/$path/manifests/$tag" |
    awk 'NR == 1 && $2 != 200 {exit} tolower($1) == "docker-content-digest:" {sub(/\r$/, "", $2); print $2}'
}
pinned() { # reference: prints it by digest
  local digest name=${1%%@*}
  digest=$(digest_of "$1")
  [ -n "$digest" ] || fail "the registry does not have $1"
  case ${name##*/} in *:*) name=${name%:*} ;; esac
  echo "$name@$digest"
}
packed() { # file path...: a tar of these paths, equal for equal contents
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u+rw,go+r-w,a+X \
    --exclude=__pycache__ --exclude='*.pyc' --exclude=node_modules --exclude=deploy/charts --exclude='deploy/*.sh' -cf "$1" "${@:2}"
}

prepare_namespace() {
  [ -z "$made" ] || return 0
  s3 -o /dev/null -X PUT "$S3_ENDPOINT/$bucket" 2>/dev/null || s3 -o /dev/null -I "$S3_ENDPOINT/$bucket" ||
    fail "the bucket $bucket can't be made at $S3_ENDPOINT"
  made=yes
  kubectl apply -f - >/dev/null <<Y
apiVersion: v1
kind: Namespace
metadata:
  name: $namespace
  labels: {pod-security.kubernetes.io/enforce: baseline}
---
apiVersion: v1
kind: Secret
metadata: {name: store, namespace: $namespace}
data:
  AWS_ACCESS_KEY_ID: $(printf %s "$S3_ACCESS_KEY" | base64 -w0)
  AWS_SECRET_ACCESS_KEY: $(printf %s "$S3_SECRET_KEY" | base64 -w0)
Y
}

job() { # name context-key destination dockerfile build-argument...: the Job that builds an image
  local name=$1 key=$2 destination=$3 dockerfile=$4 insecure='' argument
  [ "$(scheme_of "$REGISTRY")" = https ] || insecure=$'\n        - --insecure\n        - --insecure-pull'
  cat <<Y
apiVersion: batch/v1
kind: Job
metadata: {name: $name, namespace: $namespace}
spec:
  backoffLimit: 0
  activeDeadlineSeconds: 900
  template:
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      containers:
      - name: kaniko
        image: $KANIKO_IMAGE
        args:
        - --context=s3://$bucket/$key
        - --dockerfile=$dockerfile
        - --destination=$destination
        - --cache=true
        - --cache-repo=$REGISTRY/knative-lambda/cache$insecure
$(for argument in "${@:5}"; do printf '        - --build-arg=%s\n' "$argument"; done)
        env:
        - {name: S3_ENDPOINT, value: "$S3_ENDPOINT"}
        - {name: S3_FORCE_PATH_STYLE, value: "true"}
        - {name: AWS_REGION, value: us-east-1}
        envFrom: [{secretRef: {name: store}}]
        resources: {requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 2Gi}}
Y
}

build() { # name context-tar destination dockerfile build-argument...
  local name=$1 context=$2 destination=$3 key=$1-$RANDOM.tar.gz log=$work/$1.log
  prepare_namespace
  gzip -nf "$context"
  s3 -o /dev/null -T "$context.gz" "$S3_ENDPOINT/$bucket/$key" || fail "the context of $name can't be put into $S3_ENDPOINT/$bucket"
  job "$name" "$key" "$destination" "${@:4}" | kubectl apply -f - >/dev/null
  for _ in $(seq 180); do # the log can't be followed before its container runs
    kubectl logs -n "$namespace" "job/$name" --tail=1 >/dev/null 2>&1 && break
    sleep 1
  done
  # Kaniko tells each instruction at the level INFO; the rest is for the case of failure
  kubectl logs -n "$namespace" "job/$name" -f 2>&1 | tee "$log" |
    sed -nE 's/^.*INFO.*\] ((RUN|COPY|Pushed).{0,80}).*/    \1/p' >&2 || true
  for _ in $(seq 120); do
    case $(kubectl get job -n "$namespace" "$name" -o jsonpath='{.status.conditions[?(@.status=="True")].type}') in
      *Complete*) break ;;
      *Failed*) tail -n 30 "$log" >&2 && fail "" "$name was not built: see above" ;;
    esac
    sleep 1
  done
  s3 -o /dev/null -X DELETE "$S3_ENDPOINT/$bucket/$key" || true
  [ -n "$(digest_of "$destination")" ] || {
    kubectl get events -n "$namespace" --field-selector type=Warning -o custom-columns=REASON:.reason,MESSAGE:.message >&2
    fail "" "$name was not built, or not pushed"
  }
}

image() { # name variable base folder dockerfile path...: the image of that folder's paths, built if need be
  local name=$1 variable=$2 base folder=$4 dockerfile=$5 context=$work/$1.tar destination start=$SECONDS
  base=$(pinned "$3")
  (cd "$folder" && packed "$context" "${@:6}")
  destination=$REGISTRY/$name:$({ cat "$context" && echo "$base" && printf %s "${PRODUCT:-}"; } | sha256sum | cut -c1-16)
  if [ -n "$(digest_of "$destination")" ]; then
    say "$name: nothing has changed"
  else
    say "$name: building"
    build "$name" "$context" "$destination" "$dockerfile" "BASE=$base" ${PIP_INDEX_URL:+"PIP_INDEX_URL=$PIP_INDEX_URL"} \
      ${GOPROXY:+"GOPROXY=$GOPROXY"} ${PRODUCT:+"PRODUCT=$PRODUCT"}
    say "$name: built in $((SECONDS - start)) s"
  fi
  echo "$variable=$(pinned "$destination")" >>"$work/images.env"
}

echo "KANIKO_IMAGE=$(pinned "$KANIKO_IMAGE")" >"$work/images.env"
for wanted in $IMAGES; do
  case $wanted in
    knative-lambda)
      image knative-lambda IMAGE "$PYTHON_BASE" . deploy/image/Dockerfile \
        .rooms/knative_lambda/__init__.py schemas storage deploy builds handler
      ;;
    knative-lambda-git) # comes after knative-lambda, whose image it takes
      PRODUCT=$(sed -n 's/^IMAGE=//p' "$work/images.env")
      [ -n "$PRODUCT" ] || fail "IMAGES: knative-lambda-git needs knative-lambda before it"
      image knative-lambda-git GIT_IMAGE "$PYTHON_BASE" deploy/image git.Dockerfile git.Dockerfile
      PRODUCT=
      ;;
    runtime-python) image runtime-python PYTHON_RUNTIME "$PYTHON_BASE" builds/runtimes/python Dockerfile . ;;
    runtime-node) image runtime-node NODE_RUNTIME "$NODE_BASE" builds/runtimes/node Dockerfile . ;;
    runtime-go) image runtime-go GO_RUNTIME "$GO_BASE" builds/runtimes/go Dockerfile . ;;
    *) fail "IMAGES: $wanted is none of knative-lambda, knative-lambda-git, runtime-python, runtime-node, runtime-go" ;;
  esac
done
mkdir -p "$(dirname "$IMAGES_FILE")"
cp "$work/images.env" "$IMAGES_FILE"
cat "$IMAGES_FILE"
