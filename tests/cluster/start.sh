#!/usr/bin/env bash
# Starts the cluster's processes that are not running, fills the registry, applies Knative, and writes
# $CLUSTER_RUN/env. up.sh calls this when the machine has all it needs; it keeps no hold on them, they outlive it.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$HERE/process.sh"
run=$CLUSTER_RUN keys=$CLUSTER_RUN/pki socket=$CLUSTER_SOCKETS/containerd.sock
mkdir -p "$run"/{log,pid,etcd,s3,meta,cni} "$CLUSTER_SOCKETS"

await() { # seconds component command...
  local limit=$1 name=$2 end=$((SECONDS + $1))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ! running "$name" || [ $SECONDS -ge $end ]; then
      echo "$name is not well after at most $limit s ($*); the end of $run/log/$name.log:" >&2
      tail -5 "$run/log/$name.log" >&2
      return 1
    fi
    sleep .3
  done
}

# --- the machine
ip link show kube0 >/dev/null 2>&1 || ip link add kube0 type bridge
ip addr replace "$NODE_IP/32" dev kube0
ip link set kube0 up
sysctl -qw net.ipv4.ip_forward=1
grep -q "^$NODE_IP node1$" /etc/hosts || echo "$NODE_IP node1" >>/etc/hosts
"$HERE/keys.sh"

# --- what keeps things
launch etcd etcd --data-dir "$run/etcd" --unsafe-no-fsync --listen-peer-urls http://127.0.0.1:2380 \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
registry() { # process address folder [more of its configuration]
  cat >"$run/$1.yml" <<Y
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $3}, delete: {enabled: true}}
http: {addr: "$2"}
${4:-}
Y
  launch "$1" docker-registry serve "$run/$1.yml"
}
registry registry "$REGISTRY" "$CLUSTER_CACHE/registry"
# One that believes tokens which $keys/tokens has signed, and nobody else gives any. Nodes have a door of their own to it,
# as a cloud's have: on this machine's loopback, where no Pod comes.
tokens=$NODE_IP:5001 nodes=127.0.0.1:5002
registry tokens $tokens "$run/tokens" "auth: {token: {realm: \"http://$NODE_IP:9/token\", service: \"$tokens\",
  issuer: knative-lambda, rootcertbundle: \"$keys/tokens/tls.crt\"}}"
registry nodes $nodes "$run/tokens"
launch s3 env ROOT_ACCESS_KEY=$S3_ACCESS_KEY ROOT_SECRET_KEY=$S3_SECRET_KEY \
  "$BIN/versitygw" --port $NODE_IP:7070 posix --sidecar "$run/meta" "$run/s3"

# --- what runs pods
cat >"$run/cni/10-pods.conflist" <<J
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/22"}]], "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "$run/ipam"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
J
# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc may not lower a pod's OOM score and fails to start it
cat >"$run/containerd.toml.new" <<T
version = 2
root = "$run/containerd"
state = "$CLUSTER_SOCKETS/containerd"
[grpc]
  address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$REGISTRY/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$run/cni"
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."$REGISTRY"]
    endpoint = ["http://$REGISTRY"]
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."$tokens"]
    endpoint = ["http://$nodes"]
T
cmp -s "$run/containerd.toml.new" "$run/containerd.toml" || stop containerd # Pods run on without it
mv "$run/containerd.toml.new" "$run/containerd.toml"
launch containerd containerd -c "$run/containerd.toml"

# --- the control plane; the images go into the registry while the API server starts
await 90 etcd curl -fs http://127.0.0.1:2379/health
# Who made and removed what the product is about, and when a build's Pod ended: enough to count without asking the product.
cat >"$run/audit.yaml" <<Y
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: Metadata
  verbs: [create, delete, deletecollection]
  resources:
  - {group: batch, resources: [jobs]}
  - {group: coordination.k8s.io, resources: [leases]}
  - {group: knative-lambda.dev, resources: [functions, builds, deadletters]}
  - {group: serving.knative.dev, resources: [services]}
  - {group: eventing.knative.dev, resources: [triggers]}
- level: Metadata
  verbs: [delete, deletecollection]
  resources: [{group: "", resources: [pods]}]
- level: Request
  userGroups: [system:nodes]
  verbs: [patch]
  resources: [{group: "", resources: [pods/status]}]
- level: None
Y
launch kube-apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --advertise-address=$NODE_IP --secure-port=6443 \
  --service-cluster-ip-range=10.96.0.0/16 --authorization-mode=Node,RBAC \
  --enable-admission-plugins=NodeRestriction --allow-privileged=true \
  --client-ca-file="$keys/ca.crt" --tls-cert-file="$keys/apiserver.crt" --tls-private-key-file="$keys/apiserver.key" \
  --service-account-key-file="$keys/sa.pub" --service-account-signing-key-file="$keys/sa.key" \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --kubelet-client-certificate="$keys/admin.crt" --kubelet-client-key="$keys/admin.key" \
  --audit-policy-file="$run/audit.yaml" --audit-log-path="$run/log/audit.log" --audit-log-maxsize=100 --audit-log-maxbackup=2 \
  --requestheader-client-ca-file="$keys/ca.crt" --requestheader-allowed-names=front-proxy-client \
  --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \
  --requestheader-username-headers=X-Remote-User \
  --proxy-client-cert-file="$keys/front.crt" --proxy-client-key-file="$keys/front.key"
await 90 registry curl -fs "http://$REGISTRY/v2/"
await 90 tokens sh -c "curl -s http://$tokens/v2/ | grep -q UNAUTHORIZED"
await 90 nodes curl -fs "http://$nodes/v2/"
await 90 s3 sh -c "curl -s $S3_ENDPOINT/ | grep -q AccessDenied"
await 90 containerd ctr -a "$socket" version
"$HERE/images.sh"
await 180 kube-apiserver kubectl get --raw /readyz
launch kube-controller-manager "$BIN/kube-controller-manager" --kubeconfig="$run/kube-controller-manager.conf" \
  --root-ca-file="$keys/ca.crt" --service-account-private-key-file="$keys/sa.key" --use-service-account-credentials \
  --leader-elect=false --cluster-signing-cert-file="$keys/ca.crt" --cluster-signing-key-file="$keys/ca.key"
launch kube-scheduler "$BIN/kube-scheduler" --kubeconfig="$run/kube-scheduler.conf" --leader-elect=false

# --- the node
cat >"$run/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
failSwapOn: false
containerRuntimeEndpoint: unix://$socket
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $keys/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $keys/kubelet.crt
tlsPrivateKeyFile: $keys/kubelet.key
evictionHard: {memory.available: 200Mi, nodefs.available: 1%, imagefs.available: 1%}
resolvConf: /etc/resolv.conf
maxPods: 250
enforceNodeAllocatable: []
Y
if running kubelet; then settle=0; else settle=5; fi
launch kubelet "$BIN/kubelet" --config="$run/kubelet.yaml" --kubeconfig="$run/kubelet.conf" --hostname-override=node1 \
  --node-ip=$NODE_IP --root-dir="$run/kubelet"
launch kube-proxy "$BIN/kube-proxy" --kubeconfig="$run/kube-proxy.conf" --proxy-mode=iptables \
  --cluster-cidr=10.244.0.0/16 --hostname-override=node1
await 90 kubelet curl -fs http://127.0.0.1:10248/healthz
await 180 kubelet sh -c 'kubectl get node node1 | grep -q " Ready"'

sleep $settle # until a kubelet just started has looked at its pods, their status is that of before it died
"$HERE/knative.sh"

# --- how others find it
cluster_ip() { kubectl get service -n "$1" "$2" -o jsonpath='{.spec.clusterIP}'; }
cat >"$run/env.new" <<E
export KUBECONFIG=$KUBECONFIG
export REGISTRY=$REGISTRY
export TOKEN_REGISTRY=$tokens
export TOKEN_KEYS=$keys/tokens
export S3_ENDPOINT=$S3_ENDPOINT
export S3_ACCESS_KEY=$S3_ACCESS_KEY
export S3_SECRET_KEY=$S3_SECRET_KEY
export KANIKO_IMAGE=$KANIKO_IMAGE
export PYTHON_BASE=$PYTHON_BASE
export NODE_BASE=$NODE_BASE
export GO_BASE=$GO_BASE
export BROKER_INGRESS=http://$(cluster_ip knative-eventing broker-ingress)
export KOURIER=http://$(cluster_ip kourier-system kourier)
export AUDIT_LOG=$run/log/audit.log
export TINY_EXECUTOR=$TINY_EXECUTOR
export CLUSTER_POLICIES=${CLUSTER_POLICIES:-}
E
mv "$run/env.new" "$run/env"
[ -z "${CLUSTER_POLICIES:-}" ] || "$HERE/policies.sh" on
say "ready: . $run/env"
