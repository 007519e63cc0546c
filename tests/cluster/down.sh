#!/usr/bin/env bash
# Stops exactly the processes that up.sh started.
#   down.sh          the data stay; up.sh goes on with them
#   down.sh --wipe   forgets everything: no process, mount, address, rule or file is left
set -euo pipefail
. "$(dirname "$0")/settings.sh"
. "$HERE/process.sh"

owns_node() { [[ -f $RUNTIME/owner && $(cat "$RUNTIME/owner") = "$CLUSTER_DIR" ]]; }

stop kubelet
if alive containerd; then
    # Pods first, so that no shim outlives containerd. The containers' records stay: after the next start kubelet tears
    # the dead sandboxes down properly, with their addresses and rules.
    runtime() { ctr -a "$RUNTIME/containerd.sock" -n k8s.io "$@"; }
    runtime tasks ls -q | while read -r task; do
        runtime tasks rm --force "$task" >/dev/null 2>&1 </dev/null || true
    done
fi
for name in dns kube-proxy containerd kwok kube-scheduler kube-controller-manager kube-apiserver etcd; do stop $name; done

if owns_node; then
    if [[ -f $CONF/kube-proxy.yaml ]]; then
        kube-proxy --config="$CONF/kube-proxy.yaml" --cleanup >/dev/null 2>&1 || true
    fi
    if [[ ${1:-} = --wipe ]]; then
        awk -v data="$CLUSTER_DIR/" -v run="$RUNTIME/" \
            'index($2, data) == 1 || index($2, run) == 1 || $2 ~ "^/run/netns/cni-" {print $2}' /proc/mounts |
            sort -r | while read -r mount; do umount "$mount" || umount -l "$mount"; done
        ip netns ls 2>/dev/null | awk '/^cni-/{print $1}' | while read -r space; do ip netns del "$space"; done
        ip link del cni0 2>/dev/null || true
        for tables in iptables ip6tables; do
            if "$tables-save" 2>/dev/null | grep -qE 'CNI-|KUBE-'; then
                "$tables-save" | grep -vE 'CNI-|KUBE-' | "$tables-restore"
            fi
        done
        ip addr del "$NODE_IP/32" dev lo 2>/dev/null || true
        [[ ! -f $CONF/ip_forward.before ]] || cat "$CONF/ip_forward.before" > /proc/sys/net/ipv4/ip_forward
        rm -rf "$RUNTIME"
    fi
fi
[[ ${1:-} != --wipe ]] || rm -rf "$CLUSTER_DIR"
