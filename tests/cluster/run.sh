#!/usr/bin/env bash
# Runs the cluster suites: builds what is missing, starts a cluster, runs its suites, stops it; again for the next kind
# of cluster. What it starts it stops, also when a suite fails or it is interrupted.
#   run.sh                  everything
#   run.sh control|node     one kind of cluster
#   run.sh control -- NAME  only the tests whose names hold NAME, after the group (crds, control, alone, node)
#   KEEP=yes run.sh …       leaves the cluster running and says how to reach it
# Without Go, root or the Debian packages of README.md it says aloud what it leaves out; where CI is set it fails instead.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
mkdir -p "${CARGO_TARGET_DIR:=target}"
target=$(cd "$CARGO_TARGET_DIR" && pwd)
export CLUSTER_HOME=${CLUSTER_HOME:-$HOME/.cache/recmesh-cluster}
CARGO=${CARGO:-cargo}

kinds=() only=
while (($#)); do
    case $1 in
        control | node) kinds+=("$1") ;;
        --) only=${2:-}; break ;;
        *) sed -n '2,8s/^# //p' "$0" >&2; exit 2 ;;
    esac
    shift
done
((${#kinds[@]})) || kinds=(control node)

leave_out() { # what why
    echo "LEFT OUT: $1: $2" >&2
    [[ -z ${CI:-} ]] || { echo "with CI set nothing may be left out" >&2; exit 1; }
}

for program in openssl curl python3; do
    command -v $program >/dev/null || { leave_out "cluster suites" "$program is missing"; exit 0; }
done
if ! "$here/tools.sh" --check; then
    command -v go >/dev/null || { leave_out "cluster suites" "Go is missing, which builds Kubernetes"; exit 0; }
    "$here/tools.sh"
fi
# The program as it is shipped: what costs are measured of, and what the node runs. Other suites take the quicker build.
make image
image=${DIST:-$target/dist}/recmesh-image-$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1).tar
$CARGO test --no-run --test cluster

started=
finish() {
    status=$?
    trap - EXIT
    if [[ -n $started ]]; then
        if [[ -n ${KEEP:-} ]]; then
            echo "left running: export CLUSTER_HOME=$CLUSTER_HOME CLUSTER_DIR=$CLUSTER_DIR KUBECONFIG=$KUBECONFIG"
        else
            "$here/down.sh" --wipe
        fi
    fi
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

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
    $CARGO test --quiet --test cluster -- "$group::${only}" "$@"
}

for kind in "${kinds[@]}"; do
    if [[ $kind = node ]]; then
        if [[ $(id -u) != 0 ]]; then
            leave_out "suites on a real node" "they need root"
            continue
        fi
        missing=$(for program in runc iptables nft conntrack busybox /usr/lib/cni/bridge; do
            command -v $program >/dev/null || echo $program
        done)
        if [[ -n $missing ]]; then
            leave_out "suites on a real node" "missing: ${missing//$'\n'/ }; tests/cluster/README.md lists the packages"
            continue
        fi
    fi
    export CLUSTER_DIR=$target/cluster/$kind CLUSTER_PORT
    CLUSTER_PORT=$(free_ports)
    [[ ! -d $CLUSTER_DIR ]] || "$here/down.sh" --wipe
    started=yes
    AUDIT_POLICY=$here/audit.yaml "$here/up.sh" "$kind"
    export KUBECONFIG=$CLUSTER_DIR/kubeconfig
    case $kind in
        control)
            suites crds --test-threads=1
            suites control
            RECMESH_PROGRAM=$target/image/recmesh suites alone --test-threads=1 --nocapture
            ;;
        node)
            "$here/images.sh" "$image"
            suites node --test-threads=1 --nocapture
            ;;
    esac
    if [[ -z ${KEEP:-} ]]; then
        "$here/down.sh" --wipe
        started=
    fi
done
