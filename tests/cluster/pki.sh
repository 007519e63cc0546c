#!/usr/bin/env bash
# Makes a cluster's keys and certificates, once, in $CLUSTER_DIR/pki. They are good for this machine's test clusters only.
set -euo pipefail
. "$(dirname "$0")/settings.sh"

[[ ! -f $PKI/done ]] || exit 0
rm -rf "$PKI"
mkdir -p "$PKI"
cd "$PKI"

authority() { # file name
    openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
    openssl req -x509 -new -sha256 -key "$1.key" -days 3650 -subj "/CN=$2" -out "$1.crt" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
}

certificate() { # authority file subject usage [names]
    openssl ecparam -name prime256v1 -genkey -noout -out "$2.key"
    openssl req -new -sha256 -key "$2.key" -subj "$3" -out "$2.csr"
    {
        echo keyUsage=critical,digitalSignature
        echo "extendedKeyUsage=$4"
        [[ -z ${5:-} ]] || echo "subjectAltName=$5"
    } > "$2.ext"
    openssl x509 -req -sha256 -in "$2.csr" -CA "$1.crt" -CAkey "$1.key" -CAcreateserial -days 3650 -extfile "$2.ext" \
        -out "$2.crt" 2>/dev/null
    rm -f "$2.csr" "$2.ext"
}

service=kubernetes.default.svc
names=DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:$service,DNS:$service.cluster.local
authority ca kubernetes-ca
authority front-proxy-ca front-proxy-ca
certificate ca apiserver /CN=kube-apiserver serverAuth "$names,IP:127.0.0.1,IP:$NODE_IP,IP:${SERVICE_CIDR%.0/16}.1"
certificate ca apiserver-kubelet-client /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
certificate front-proxy-ca front-proxy-client /CN=front-proxy-client clientAuth
certificate ca admin /O=system:masters/CN=kubernetes-admin clientAuth
certificate ca controller-manager /CN=system:kube-controller-manager clientAuth
certificate ca scheduler /CN=system:kube-scheduler clientAuth
certificate ca kube-proxy /CN=system:kube-proxy clientAuth
certificate ca kubelet "/O=system:nodes/CN=system:node:$NODE_NAME" clientAuth
certificate ca kubelet-server "/O=system:nodes/CN=system:node:$NODE_NAME" serverAuth \
    "DNS:$NODE_NAME,IP:$NODE_IP,IP:127.0.0.1"
openssl genrsa -out sa.key 2048 2>/dev/null
openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
touch "done"
