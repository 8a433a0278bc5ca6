#!/usr/bin/env bash
# Has NetworkPolicies enforced on the cluster that runs, by kube-router's firewall and nothing else of kube-router, and no
# longer: `off` takes its rules away too, and leaves everything else as it is.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$HERE/process.sh"

enforced() { [[ $(iptables -S KUBE-ROUTER-FORWARD 2>/dev/null) == *KUBE-POD-FW-* ]]; }
told() { # 1 or nothing: what those who read $CLUSTER_RUN/env know
  [ ! -f "$CLUSTER_RUN/env" ] || sed -i "s/^\(export CLUSTER_POLICIES\)=.*/\1=$1/" "$CLUSTER_RUN/env"
}

case ${1:-} in
  on)
    sysctl -qw net.bridge.bridge-nf-call-iptables=1 # also for what Pods send each other over the bridge
    launch kube-router "$BIN/kube-router" --kubeconfig="$KUBECONFIG" --hostname-override=node1 --service-cluster-ip-range=10.96.0.0/16 \
      --run-firewall --run-router=false --run-service-proxy=false --enable-cni=false --health-port=0
    for _ in $(seq 300); do ! enforced || break; sleep .3; done
    enforced || fail "nothing is enforced after 90 s: $CLUSTER_RUN/log/kube-router.log"
    told 1
    ;;
  off)
    told ''
    stop kube-router
    rules=$(iptables -S 2>/dev/null)
    ours='KUBE-(ROUTER|NWPLCY|POD-FW)-.*'
    { # all at once, and nothing else is touched
      echo '*filter'
      sed -nE "s/^-A ((INPUT|FORWARD|OUTPUT) .*-j $ours)/-D \1/p" <<<"$rules"
      sed -nE "s/^-N ($ours)/:\1 - [0:0]/p" <<<"$rules"
      sed -nE "s/^-N ($ours)/-X \1/p" <<<"$rules"
      echo COMMIT
    } | iptables-restore --noflush
    ipset list -n 2>/dev/null | grep -E '^(TMP-|KUBE-(SRC|DST)-)' | xargs -r -n1 ipset destroy || true
    ;;
  *) fail "usage: ${0##*/} on | off" ;;
esac
