#!/usr/bin/env bash
# The cluster's certificate authority, keys and kubeconfigs. start.sh calls this; it makes them once.
set -euo pipefail
. "$(dirname "$0")/env.sh"
keys=$CLUSTER_RUN/pki
quiet() { "$@" 2>/dev/null; }
mkdir -p "$keys/tokens"
[ -f "$keys/tokens/tls.crt" ] || quiet openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
  -keyout "$keys/tokens/tls.key" -out "$keys/tokens/tls.crt" -days 3650 -subj /CN=registry-tokens
[ ! -f "$keys/done" ] || exit 0

say "keys"
quiet openssl req -x509 -newkey rsa:2048 -nodes -keyout "$keys/ca.key" -out "$keys/ca.crt" -days 3650 -subj /CN=kube-ca
quiet openssl genrsa -out "$keys/sa.key" 2048
quiet openssl rsa -in "$keys/sa.key" -pubout -out "$keys/sa.pub"

certificate() { # name subject [alternative names]
  quiet openssl req -newkey rsa:2048 -nodes -keyout "$keys/$1.key" -out "$keys/$1.csr" -subj "$2"
  {
    echo extendedKeyUsage=clientAuth,serverAuth
    [ -z "${3:-}" ] || echo "subjectAltName=$3"
  } >"$keys/$1.ext"
  quiet openssl x509 -req -in "$keys/$1.csr" -CA "$keys/ca.crt" -CAkey "$keys/ca.key" -CAcreateserial \
    -days 3650 -out "$keys/$1.crt" -extfile "$keys/$1.ext"
}
names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
certificate apiserver /CN=kube-apiserver "$names,DNS:localhost,IP:10.96.0.1,IP:$NODE_IP,IP:127.0.0.1"
certificate kubelet /O=system:nodes/CN=system:node:node1 "DNS:node1,IP:$NODE_IP"
certificate admin /O=system:masters/CN=admin
certificate front /CN=front-proxy-client
for user in kube-controller-manager kube-scheduler kube-proxy; do certificate $user /CN=system:$user; done

for user in admin kubelet kube-controller-manager kube-scheduler kube-proxy; do
  config() { KUBECONFIG=$CLUSTER_RUN/$user.conf kubectl config "$@" >/dev/null; }
  config set-cluster test --server="https://$NODE_IP:6443" --certificate-authority="$keys/ca.crt" --embed-certs
  config set-credentials $user --client-certificate="$keys/$user.crt" --client-key="$keys/$user.key" --embed-certs
  config set-context test --cluster=test --user=$user
  config use-context test
done
touch "$keys/done"
