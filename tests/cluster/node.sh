# Sourced by up.sh: makes this machine a node: containerd, kubelet, kube-proxy and cluster DNS.
# shellcheck shell=bash

mkdir -p "$CONF/cni" "$CLUSTER_DIR/containerd" "$CLUSTER_DIR/kubelet" "$CONF/static"
cat > "$CONF/cni/10-bridge.conflist" <<Y
{"cniVersion": "0.4.0", "name": "test", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "${POD_CIDR%.0.0/16}.0.0/24"}]],
            "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "$CLUSTER_DIR/addresses"}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
Y
# Scores below zero need a capability that a container with root may lack, hence restrict_oom_score_adj.
cat > "$CONF/containerd.toml" <<Y
version = 2
root = "$CLUSTER_DIR/containerd"
state = "$RUNTIME/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "$RUNTIME/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$CONF/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
Y
start containerd containerd -c "$CONF/containerd.toml"
await containerd 30 ctr -a "$RUNTIME/containerd.sock" version
"$HERE/images.sh"

echo "nameserver $NODE_IP" > "$CONF/resolv.conf"
# failCgroupV1: hosts with the older control groups can be nodes too. syncFrequency: files of ConfigMaps follow sooner.
cat > "$CONF/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $PKI/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $PKI/kubelet-server.crt
tlsPrivateKeyFile: $PKI/kubelet-server.key
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
syncFrequency: 10s
containerRuntimeEndpoint: unix://$RUNTIME/containerd.sock
clusterDomain: cluster.local
clusterDNS: [$NODE_IP]
resolvConf: $CONF/resolv.conf
staticPodPath: $CONF/static
evictionHard: {memory.available: 100Mi, nodefs.available: 1Gi, imagefs.available: 1Gi}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
healthzBindAddress: 127.0.0.1
healthzPort: 10248
readOnlyPort: 0
maxPods: 110
enforceNodeAllocatable: []
Y
cat > "$CONF/kube-proxy.yaml" <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
bindAddress: 127.0.0.1
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
clientConnection: {kubeconfig: $CONF/kube-proxy.kubeconfig}
clusterCIDR: $POD_CIDR
nodePortAddresses: [$NODE_IP/32]
hostnameOverride: $NODE_NAME
mode: nftables
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
Y
# shellcheck disable=SC2086
start kubelet kubelet --config="$CONF/kubelet.yaml" --kubeconfig="$CONF/kubelet.kubeconfig" \
    --root-dir="$CLUSTER_DIR/kubelet" --hostname-override="$NODE_NAME" --node-ip="$NODE_IP" ${KUBELET_ARGS:-}
start kube-proxy kube-proxy --config="$CONF/kube-proxy.yaml"
start dns python3 "$HERE/dns.py" "$KUBECONFIG" "$NODE_IP"
await kubelet 60 curl -sf http://127.0.0.1:10248/healthz
await kubelet 60 kubectl wait --for=condition=Ready "node/$NODE_NAME" --timeout=1s
await kube-proxy 60 curl -sf http://127.0.0.1:10256/healthz
await dns 10 bash -c "exec 3<>/dev/tcp/$NODE_IP/53"
