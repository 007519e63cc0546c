#!/usr/bin/env bash
# Imports images into the running node's containerd; pods find them with imagePullPolicy IfNotPresent or Never.
#   images.sh              the two that every node needs, made of Debian's busybox-static, where they are missing:
#                          localhost/pause:1 for pod sandboxes, localhost/tools:1 for tests that need a shell in a pod
#   images.sh ARCHIVE...   these archives (OCI or docker), by the names written in them
set -euo pipefail
. "$(dirname "$0")/settings.sh"

runtime() { ctr -a "$RUNTIME/containerd.sock" -n k8s.io "$@"; }

if (($#)); then
    for archive; do runtime images import "$archive"; done
    exit
fi

mkdir -p "$IMAGES"
if [[ ! -f $IMAGES/tools.tar ]]; then
    root=$(mktemp -d)
    trap 'rm -rf "$root"' EXIT
    mkdir -p "$root"/{bin,etc,tmp,proc,sys,dev,lib,lib64}
    chmod 1777 "$root/tmp"
    echo 'root:x:0:0:root:/:/bin/sh' > "$root/etc/passwd"
    for program in /bin/busybox "$(command -v curl)"; do
        cp -L "$program" "$root/bin/"
        # The libraries that the program loads; a static program has none.
        { ldd "$program" 2>/dev/null || true; } | { grep -oE '/[^ ]+' || true; } | while read -r library; do
            mkdir -p "$root$(dirname "$library")"
            [[ -e $root$library ]] || cp -L "$library" "$root$library"
        done
    done
    busybox --list | while read -r name; do [[ -e $root/bin/$name ]] || ln -s busybox "$root/bin/$name"; done
    make=$HERE/../../charts/image/mkimage.py environment='"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]'
    "$make" "$IMAGES/pause.tar" localhost/pause:1 "$root" "{\"Entrypoint\": [\"/bin/sleep\", \"infinity\"], $environment}"
    "$make" "$IMAGES/tools.tar" localhost/tools:1 "$root" "{\"Entrypoint\": [\"/bin/sh\"], $environment}"
fi
for name in pause tools; do
    runtime images ls -q | grep -qx "localhost/$name:1" || runtime images import "$IMAGES/$name.tar"
done
