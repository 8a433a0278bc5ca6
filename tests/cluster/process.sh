# Sourced by start.sh, down.sh and cluster.sh: one process of the cluster, known by its id and its start time.
# shellcheck shell=bash disable=SC2154 # CLUSTER_RUN is env.sh's

launch() { # name command...: started, unless it runs; the command is kept, so that `start_again` knows it
  local name=$1
  shift
  mkdir -p "$CLUSTER_RUN/command"
  printf '%q ' "$@" >"$CLUSTER_RUN/command/$name"
  start_again "$name"
}
start_again() { # name
  running "$1" && return
  [ -f "$CLUSTER_RUN/command/$1" ] || fail "the cluster has no process $1"
  local -a command
  eval "command=($(cat "$CLUSTER_RUN/command/$1"))"
  # with no file of whoever starts it: a lock that a run holds would be held for as long as the cluster is up
  setsid bash -c 'for fd in /proc/$$/fd/*; do ((${fd##*/} <= 2)) || eval "exec ${fd##*/}>&-"; done; exec "$@"' _ \
    "${command[@]}" >>"$CLUSTER_RUN/log/$1.log" 2>&1 </dev/null &
  echo "$! $(born $!)" >"$CLUSTER_RUN/pid/$1"
  say "started $1"
}
stop() { # name [signal]: asked to end, or sent that signal; killed where it does not end within 5 s
  local pid
  if running "$1" && read -r pid _ <"$CLUSTER_RUN/pid/$1"; then
    kill -s "${2:-TERM}" "$pid"
    for _ in $(seq 50); do running "$1" || break; sleep .1; done
    if running "$1"; then kill -9 "$pid"; fi
  fi
  rm -f "$CLUSTER_RUN/pid/$1"
}
