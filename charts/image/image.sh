#!/usr/bin/env bash
# image.sh PROGRAM OUT.tar NAME:TAG [MAX_MB]: our program as an OCI image archive without a base image, made by rootfs.sh
# and mkimage.py. An image larger than MAX_MB (80) is refused: look what it came to load.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
program=$1 out=$2 name=$3 most=${4:-80}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
bash "$here/rootfs.sh" "$root" "$program"
mkdir -p "$(dirname "$out")"
python3 "$here/mkimage.py" "$out.part" "$name" "$root" | sed "s|^$out.part|$out|"
size=$(stat -c %s "$out.part")
if [ "$size" -gt $((most * 1000000)) ]; then
    rm -f "$out.part"
    echo "$out would have $size bytes, more than $most MB" >&2
    exit 1
fi
mv "$out.part" "$out"
