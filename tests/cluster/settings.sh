# Sourced by the scripts beside it: where a cluster's files lie and which ports it takes. Everything here can be set in
# the environment, so that several clusters run side by side; only one of them can have a real node.
# shellcheck shell=bash disable=SC2034  # read by those that source this

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Programs and base images, shared by all clusters.
export CLUSTER_HOME=${CLUSTER_HOME:-$HOME/.cache/recmesh-cluster}
# Keys, kubeconfig, database, logs and process ids of one cluster.
export CLUSTER_DIR=${CLUSTER_DIR:-$CLUSTER_HOME/default}
# The API server's port; the five after it are etcd's two, the controller manager's, the scheduler's and a spare.
export CLUSTER_PORT=${CLUSTER_PORT:-6443}
export NODE_NAME=${NODE_NAME:-node1}

BIN=$CLUSTER_HOME/bin
IMAGES=$CLUSTER_HOME/images
PKI=$CLUSTER_DIR/pki
CONF=$CLUSTER_DIR/conf
LOG=$CLUSTER_DIR/log
PIDS=$CLUSTER_DIR/pids
# The real node's own address: a second one of the loopback device, so that pods reach the API server too.
NODE_IP=10.250.0.1
SERVICE_CIDR=10.96.0.0/16
POD_CIDR=10.244.0.0/16
# Where containerd keeps its sockets: paths of sockets are short. One real node a machine, so one folder.
RUNTIME=/run/recmesh-node
export PATH=$BIN:$PATH
