# Sourced by up.sh: stand-in nodes with 64 cores, 512 GiB and 8 GPUs each. Pods become ready there and jobs complete as
# the stages under kwok/ say, without anything being run.
# shellcheck shell=bash

stages=()
for file in "$HERE"/kwok/*.yaml; do stages+=(--config "$file"); done
start kwok kwok --kubeconfig "$KUBECONFIG" --manage-nodes-with-label-selector type=kwok --cidr 10.249.0.0/16 \
    --node-ip 127.0.0.1 --node-lease-duration-seconds 40 "${stages[@]}"
for ((number = 1; number <= ${stand_ins:?}; number++)); do
    cat <<Y
---
apiVersion: v1
kind: Node
metadata:
  name: gpu-$number
  labels: {type: kwok, kubernetes.io/hostname: gpu-$number, kubernetes.io/os: linux, kubernetes.io/arch: amd64}
status:
  allocatable: &amounts {cpu: "64", memory: 512Gi, pods: "5000", nvidia.com/gpu: "8"}
  capacity: *amounts
Y
done | kubectl apply -f - >/dev/null
await kwok 60 kubectl wait --for=condition=Ready node --selector type=kwok --timeout=60s
