#!/usr/bin/env bash
# Runs the cluster suites: builds what is missing, starts a cluster, runs its suites, stops it; again for the next kind
# of cluster. What it starts it stops, also when a suite fails or it is interrupted.
#   run.sh                  everything
#   run.sh control|node     one kind of cluster
#   run.sh control -- NAME  only the tests whose names begin so within their group: quickstart, rollouts::every
#   KEEP=yes run.sh …       leaves the cluster running and says how to reach it
# Without Go, root or the Debian packages of README.md it says aloud what it leaves out; where CI is set it fails.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
mkdir -p "${CARGO_TARGET_DIR:=target}"
target=$(cd "$CARGO_TARGET_DIR" && pwd)
export CLUSTER_HOME=${CLUSTER_HOME:-$HOME/.cache/recmesh-cluster}
CARGO=${CARGO:-cargo}
started='' image_job='' failed='' only=''

leave_out() { # what why
    echo "LEFT OUT: $1: $2" >&2
    [[ -z ${CI:-} ]] || { echo "with CI set nothing may be left out" >&2; exit 1; }
}

missing() { # program... -> those that are not here
    local program
    for program; do
        command -v "$program" >/dev/null || echo "$program"
    done | paste -sd ' '
}

finish() {
    status=$?
    trap - EXIT
    if [[ -n $image_job ]]; then
        # Its session: make and everything below it.
        kill -- "-$image_job" 2>/dev/null || true
    fi
    if [[ -n $started && -n ${KEEP:-} ]]; then
        echo "left running: export CLUSTER_HOME=$CLUSTER_HOME CLUSTER_DIR=$CLUSTER_DIR KUBECONFIG=$KUBECONFIG"
    elif [[ -n $started ]]; then
        "$here/down.sh" --wipe
    fi
    exit "$status"
}

# The program as it is shipped: what costs are measured of, and what the node runs. It takes minutes of optimisation, so
# it is built while suites run that take the quicker build.
begin_image() {
    mkdir -p "$target/cluster"
    setsid make image >"$target/cluster/image.log" 2>&1 </dev/null &
    image_job=$!
}

await_image() {
    [[ -n $image_job ]] || return 0
    echo "== the image"
    if ! wait "$image_job"; then
        image_job=''
        tail -n 30 "$target/cluster/image.log" >&2
        exit 1
    fi
    image_job=''
    tail -n 1 "$target/cluster/image.log"
}

free_ports() { # the first of ten ports in a row that nothing listens on
    local base port
    for base in {21000..29000..10}; do
        for port in $(seq "$base" $((base + 9))); do
            if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then continue 2; fi
        done
        echo "$base"
        return
    done
}

suites() { # group [arguments of the test program]
    local group=$1
    shift
    echo "== $group"
    $CARGO test --quiet --test cluster -- "$group::$only" "$@" || failed+=" $group"
}

up() { # kind
    export CLUSTER_DIR=$target/cluster/$1 CLUSTER_PORT
    CLUSTER_PORT=$(free_ports)
    [[ ! -d $CLUSTER_DIR ]] || "$here/down.sh" --wipe
    started=yes
    AUDIT_POLICY=$here/audit.yaml "$here/up.sh" "$1"
    export KUBECONFIG=$CLUSTER_DIR/kubeconfig
}

down() {
    if [[ -z ${KEEP:-} ]]; then
        "$here/down.sh" --wipe
        started=''
    fi
}

control() {
    up control
    suites crds --test-threads=1
    suites control
    await_image
    RECMESH_PROGRAM=$target/image/recmesh suites alone --test-threads=1 --nocapture
    down
}

node() {
    local lacking
    if [[ $(id -u) != 0 ]]; then
        leave_out "suites on a real node" "they need root"
        return
    fi
    lacking=$(missing runc iptables nft conntrack busybox /usr/lib/cni/bridge)
    if [[ -n $lacking ]]; then
        leave_out "suites on a real node" "missing: $lacking; tests/cluster/README.md lists the packages"
        return
    fi
    await_image
    up node
    "$here/images.sh" "${DIST:-$target/dist}/recmesh-image-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1).tar"
    suites node --test-threads=1 --nocapture
    down
}

main() {
    local kinds=() kind lacking
    while (($#)); do
        case $1 in
            control | node) kinds+=("$1") ;;
            --) only=${2:-}; break ;;
            *) sed -n '2,8s/^# //p' "$0" >&2; exit 2 ;;
        esac
        shift
    done
    ((${#kinds[@]})) || kinds=(control node)

    lacking=$(missing openssl curl python3)
    if [[ -n $lacking ]]; then
        leave_out "cluster suites" "missing: $lacking"
        return
    fi
    if ! "$here/tools.sh" --check; then
        if ! command -v go >/dev/null; then
            leave_out "cluster suites" "Go is missing, which builds Kubernetes"
            return
        fi
        "$here/tools.sh"
    fi
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    $CARGO test --no-run --test cluster
    begin_image
    for kind in "${kinds[@]}"; do $kind; done
    if [[ -n $failed ]]; then
        echo "failed:$failed" >&2
        exit 1
    fi
}

# Read as a whole before anything runs: this file may change meanwhile.
main "$@"
exit
