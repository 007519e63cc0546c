#!/usr/bin/env bash
# Builds Kubernetes, etcd, containerd, Helm, kwok and a second kubectl from the pinned Go modules under tools/.
#   tools.sh                all of them
#   tools.sh helm kwok      only these
#   tools.sh --check        builds nothing; fails when something is missing or not what its go.mod says
# A tool is built again only when its go.mod has changed. Needs Go and nothing else.
set -euo pipefail
. "$(dirname "$0")/settings.sh"

check=
if [[ ${1:-} = --check ]]; then
    check=yes
    shift
fi
(($#)) || set -- kubernetes kubectl-previous containerd helm kwok
mkdir -p "$BIN"

for tool; do
    stamp=$BIN/.$tool sum=$(sha256sum < "$HERE/tools/$tool/go.mod")
    [[ -f $stamp && $(cat "$stamp") = "$sum" ]] && continue
    [[ -z $check ]] || exit 1
    cd "$HERE/tools/$tool"
    version() { go list -m -f '{{.Version}}' "$1"; }
    flags="-s -w" tags=''
    case $tool in
        # Kubernetes tells its version only when it is put in here; its libraries' v0.N.P is v1.N.P of the whole.
        kubernetes | kubectl-previous)
            release=$(version "k8s.io/${tool%-previous}")
            release=v1.${release#v*.}
            IFS=. read -r _ minor _ <<<"$release"
            variables=k8s.io/component-base/version
            flags+=" -X $variables.gitVersion=$release -X $variables.gitMajor=1 -X $variables.gitMinor=$minor"
            flags+=" -X $variables.gitTreeState=clean"
            ;;
        # File systems that need libraries of C or that no test mounts.
        containerd) tags=no_btrfs,no_zfs,no_devmapper,no_aufs ;;
    esac
    case $tool in
        kubectl-previous) programs=. ;;
        *) programs=$(go list -f '{{.ImportPath}}' tool) ;;
    esac
    SECONDS=0
    for program in $programs; do
        name=${program##*/}
        case $name in
            v3) name=etcd ;;
            .) name=$tool ;;
        esac
        CGO_ENABLED=0 go build -trimpath -tags "$tags" -ldflags "$flags" -o "$BIN/$name" "$program"
    done
    echo "$sum" > "$stamp"
    echo "$tool built in $SECONDS s"
done
