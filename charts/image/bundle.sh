#!/usr/bin/env bash
# bundle.sh VERSION CHART.tgz IMAGE.tar STATE OUT.tar.gz: everything an installation without a network needs, in one file:
# the chart, the definitions, the image, the examples, the artifacts of examples/quickstart.yaml out of the folder STATE,
# the digest of each, and how to install it. The bundle is unpacked and verified before it gets its name.
set -euo pipefail
[ $# -eq 5 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
version=$1 chart=$2 image=$3 state=$4 out=$5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=recmesh-$version
folder=$work/$name
# The same files give the same bytes.
pack() { tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw -C "$1" -cf - "$2"; }

mkdir -p "$folder"/{crds,examples,samples}
cp "$chart" "$folder/recmesh-chart-$version.tgz"
cp "$image" "$folder/recmesh-image-$version.tar"
cp "$top"/crds/yaml/*.yaml "$folder/crds/"
cp "$top"/examples/*.yaml "$folder/examples/"
cp "$top/LICENSE" "$folder/"
cp "$here/verify.sh" "$folder/verify.sh"
chmod 755 "$folder/verify.sh"
sed "s/@VERSION@/$version/g" "$here/BUNDLE.md" > "$folder/README.md"
pack "$state" artifacts | gzip -n > "$folder/samples/quickstart-artifacts.tar.gz"
size=$(stat -c %s "$folder/samples/quickstart-artifacts.tar.gz")
[ "$size" -lt 30000000 ] || { echo "the sample artifacts have $size bytes, more than 30 MB" >&2; exit 1; }
(cd "$folder" && find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum > SHA256SUMS)

mkdir -p "$(dirname "$out")"
pack "$work" "$name" | gzip -n > "$out.part"
mkdir "$work/check"
tar -xzf "$out.part" -C "$work/check"
"$work/check/$name/verify.sh"
mv "$out.part" "$out"
echo "$out: $(stat -c %s "$out") bytes"
