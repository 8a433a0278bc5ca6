#!/usr/bin/env bash
# The test cluster on a machine that has Docker and kind: kind's own node, a registry and an S3 server as
# containers beside it, Knative by its release manifests. cluster.sh calls this instead of up.sh; it needs
# no root, and pulls its images from the network. Where Docker is missing it can't run: see up.sh.
set -euo pipefail
. "$(dirname "$0")/env.sh"
name=knative-test network=knative-test
registry_ip=10.98.0.2 s3_ip=10.98.0.3 # private addresses, the same from here and from pods
node_image=${KIND_NODE_IMAGE:-kindest/node:v1.34.0}
kaniko=${KIND_KANIKO:-martizih/kaniko:v1.25.6}
serving=https://github.com/knative/serving/releases/download/knative-v1.23.0
eventing=https://github.com/knative/eventing/releases/download/knative-v1.23.0
kourier=https://github.com/knative-extensions/net-kourier/releases/download/knative-v1.21.0
export KIND_EXPERIMENTAL_DOCKER_NETWORK=$network

container() { # name image-and-docker-flags...: running, made if need be
  local container=$1
  shift
  docker start "$container" >/dev/null 2>&1 && return
  say "starting $container"
  docker run -d --name "$container" --restart unless-stopped --network "$network" "$@" >/dev/null
}
copy() { # image name-in-the-registry; Docker speaks plain HTTP to localhost only
  curl -fs "http://localhost:5001/v2/${2%%:*}/tags/list" >/dev/null && return
  docker pull -q "$1" >/dev/null
  docker tag "$1" "localhost:5001/$2"
  docker push -q "localhost:5001/$2" >/dev/null
  say "image $2"
}
apply() { kubectl apply --server-side --force-conflicts -f "$1" >/dev/null; }
merge() { kubectl patch "$1" -n "$2" "$3" --type merge -p "$4" >/dev/null; }
node_port() { kubectl get service -n "$1" "$2" -o jsonpath='{.spec.ports[?(@.port==80)].nodePort}'; }

up() {
  mkdir -p "$CLUSTER_RUN"
  touch "$CLUSTER_RUN/kind"
  docker network inspect $network >/dev/null 2>&1 || docker network create --subnet 10.98.0.0/24 $network >/dev/null
  container $name-registry --ip $registry_ip -p 127.0.0.1:5001:5000 -e REGISTRY_STORAGE_DELETE_ENABLED=true registry:2
  container $name-s3 --ip $s3_ip -e ROOT_ACCESS_KEY="$S3_ACCESS_KEY" -e ROOT_SECRET_KEY="$S3_SECRET_KEY" \
    --tmpfs /meta --tmpfs /data versity/versitygw:v1.8.0 --port :7070 posix --sidecar /meta /data
  kind get clusters 2>/dev/null | grep -qx $name || kind create cluster --name $name --image "$node_image" --kubeconfig "$KUBECONFIG"
  kind export kubeconfig --name $name --kubeconfig "$KUBECONFIG" >/dev/null 2>&1
  local certs=/etc/containerd/certs.d/$registry_ip:5000
  docker exec $name-control-plane sh -c "mkdir -p $certs && echo '[host.\"http://$registry_ip:5000\"]' >$certs/hosts.toml"
  copy "$kaniko" kaniko
  copy python:3.11-slim python:3.11
  copy node:22-slim node:22
  copy golang:1.26-alpine golang

  say "Knative"
  apply $serving/serving-crds.yaml
  apply $eventing/eventing-crds.yaml
  kubectl wait --for=condition=Established --all crd --timeout=60s >/dev/null
  apply $serving/serving-core.yaml
  apply $kourier/kourier.yaml
  apply $eventing/eventing-core.yaml
  apply $eventing/in-memory-channel.yaml
  apply $eventing/mt-channel-broker.yaml
  merge configmap knative-serving config-network '{"data": {"ingress-class": "kourier.ingress.networking.knative.dev"}}'
  merge configmap knative-serving config-domain '{"data": {"example.test": ""}}'
  merge service kourier-system kourier '{"spec": {"type": "NodePort"}}'
  merge service knative-eventing broker-ingress '{"spec": {"type": "NodePort"}}'
  for namespace in knative-serving kourier-system knative-eventing; do
    kubectl wait --for=condition=Available deployment --all -n $namespace --timeout=300s >/dev/null
    say "$namespace is up"
  done

  local node
  node=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' $name-control-plane)
  cat >"$CLUSTER_RUN/env" <<E
export KUBECONFIG=$KUBECONFIG
export REGISTRY=$registry_ip:5000
export S3_ENDPOINT=http://$s3_ip:7070
export S3_ACCESS_KEY=$S3_ACCESS_KEY
export S3_SECRET_KEY=$S3_SECRET_KEY
export KANIKO_IMAGE=$registry_ip:5000/kaniko
export PYTHON_BASE=$registry_ip:5000/python:3.11
export NODE_BASE=$registry_ip:5000/node:22
export GO_BASE=$registry_ip:5000/golang
export BROKER_INGRESS=http://$node:$(node_port knative-eventing broker-ingress)
export KOURIER=http://$node:$(node_port kourier-system kourier)
E
  say "ready: . $CLUSTER_RUN/env"
}
down() {
  kind delete cluster --name $name
  docker rm -f $name-registry $name-s3 >/dev/null
  docker network rm $network >/dev/null || true
  rm -rf "$CLUSTER_RUN"
  say "stopped"
}

case ${1:-} in
  up | down) "$1" ;;
  *) fail "usage: ${0##*/} up | down" ;;
esac
