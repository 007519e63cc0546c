#!/usr/bin/env bash
# Starts a Kubernetes on this machine and writes $CLUSTER_DIR/kubeconfig.
#   up.sh api          etcd and the API server, on loopback; no root needed
#   up.sh control [N]  api, controller manager, scheduler, and N (4) stand-in nodes on which pods only seem to run
#   up.sh node         api, controller manager, scheduler, and this machine as a node that runs pods; root
#   AUDIT_POLICY=FILE  the API server writes what it was asked to $CLUSTER_DIR/log/audit.log
#   APISERVER_ARGS, CONTROLLER_MANAGER_ARGS, KUBELET_ARGS   further flags
# down.sh stops exactly what this started. tools.sh builds what this runs.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
. "$HERE/process.sh"

mode=${1:-node} stand_ins=${2:-4}
case $mode in
    api | control) address=127.0.0.1 ;;
    node)
        address=$NODE_IP
        [[ $(id -u) = 0 ]] || { echo "up.sh node: a node that runs pods needs root" >&2; exit 1; }
        if [[ -f $RUNTIME/owner && $(cat "$RUNTIME/owner") != "$CLUSTER_DIR" ]]; then
            echo "up.sh node: this machine is the node of $(cat "$RUNTIME/owner"); stop that one first" >&2
            exit 1
        fi
        ;;
    *) sed -n '2,8s/^# //p' "$0" >&2; exit 2 ;;
esac
mkdir -p "$PIDS" "$LOG" "$CONF"
SECONDS=0
"$HERE/pki.sh"

credentials() { # file certificate
    cat > "$1" <<Y
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://$address:$CLUSTER_PORT", certificate-authority: $PKI/ca.crt}}]
users: [{name: $2, user: {client-certificate: $PKI/$2.crt, client-key: $PKI/$2.key}}]
contexts: [{name: test, context: {cluster: test, user: $2}}]
current-context: test
Y
    chmod 600 "$1"
}
for part in controller-manager scheduler kube-proxy kubelet; do credentials "$CONF/$part.kubeconfig" $part; done
export KUBECONFIG=$CLUSTER_DIR/kubeconfig
credentials "$KUBECONFIG" admin

if [[ $mode = node ]]; then
    mkdir -p "$RUNTIME"
    echo "$CLUSTER_DIR" > "$RUNTIME/owner"
    ip addr show dev lo | grep -q " $NODE_IP/32" || ip addr add "$NODE_IP/32" dev lo
    [[ -f $CONF/ip_forward.before ]] || cp /proc/sys/net/ipv4/ip_forward "$CONF/ip_forward.before"
    sysctl -qw net.ipv4.ip_forward=1
fi

etcd=http://127.0.0.1:$((CLUSTER_PORT + 1)) peer=http://127.0.0.1:$((CLUSTER_PORT + 2))
# A test's database need not survive a power cut.
start etcd etcd --data-dir "$CLUSTER_DIR/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer"
await etcd 30 bash -c "exec 3<>/dev/tcp/127.0.0.1/$((CLUSTER_PORT + 1))"

flags=()
if [[ $mode != node ]]; then
    # Nobody reaches this API server through its Service, whose endpoints may not be loopback addresses.
    flags+=(--endpoint-reconciler-type=none)
fi
if [[ -n ${AUDIT_POLICY:-} ]]; then
    flags+=(--audit-policy-file="$AUDIT_POLICY" --audit-log-path="$LOG/audit.log" --audit-log-mode=blocking)
fi
# shellcheck disable=SC2086  # further flags are words
start kube-apiserver kube-apiserver \
    --bind-address=$address --advertise-address=$address --secure-port="$CLUSTER_PORT" \
    --etcd-servers="$etcd" --service-cluster-ip-range=$SERVICE_CIDR --allow-privileged=true \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement \
    --client-ca-file="$PKI/ca.crt" --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --kubelet-client-certificate="$PKI/apiserver-kubelet-client.crt" \
    --kubelet-client-key="$PKI/apiserver-kubelet-client.key" --kubelet-certificate-authority="$PKI/ca.crt" \
    --kubelet-preferred-address-types=InternalIP,Hostname \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$PKI/sa.pub" --service-account-signing-key-file="$PKI/sa.key" \
    --requestheader-client-ca-file="$PKI/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-extra-headers-prefix=X-Remote-Extra- --requestheader-group-headers=X-Remote-Group \
    --requestheader-username-headers=X-Remote-User --enable-aggregator-routing=true \
    --proxy-client-cert-file="$PKI/front-proxy-client.crt" --proxy-client-key-file="$PKI/front-proxy-client.key" \
    --profiling=false "${flags[@]}" ${APISERVER_ARGS:-}
await kube-apiserver 120 kubectl get --raw /readyz

if [[ $mode != api ]]; then
    manager=$((CLUSTER_PORT + 3)) scheduler=$((CLUSTER_PORT + 4))
    own=$CONF/controller-manager.kubeconfig
    # shellcheck disable=SC2086
    start kube-controller-manager kube-controller-manager \
        --kubeconfig="$own" --authentication-kubeconfig="$own" --authorization-kubeconfig="$own" \
        --use-service-account-credentials --service-account-private-key-file="$PKI/sa.key" \
        --root-ca-file="$PKI/ca.crt" --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
        --client-ca-file="$PKI/ca.crt" --requestheader-client-ca-file="$PKI/front-proxy-ca.crt" \
        --allocate-node-cidrs --cluster-cidr=$POD_CIDR --service-cluster-ip-range=$SERVICE_CIDR \
        --leader-elect=false --bind-address=127.0.0.1 --secure-port=$manager ${CONTROLLER_MANAGER_ARGS:-}
    own=$CONF/scheduler.kubeconfig
    start kube-scheduler kube-scheduler \
        --kubeconfig="$own" --authentication-kubeconfig="$own" --authorization-kubeconfig="$own" \
        --leader-elect=false --bind-address=127.0.0.1 --secure-port=$scheduler
    await kube-scheduler 60 curl -ksf "https://127.0.0.1:$scheduler/healthz"
    await kube-controller-manager 60 curl -ksf "https://127.0.0.1:$manager/healthz"
    # Without it no pod is admitted.
    await kube-controller-manager 60 kubectl -n default get serviceaccount default
fi
case $mode in
    control) . "$HERE/standin.sh" ;;
    node) . "$HERE/node.sh" ;;
esac
say "up: export KUBECONFIG=$KUBECONFIG PATH=$BIN:\$PATH"
