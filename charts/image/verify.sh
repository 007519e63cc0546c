#!/usr/bin/env bash
# verify.sh: is this folder what was packed? Every file must be in SHA256SUMS with its digest, none may be missing or
# added, and the image's content must have the digests that its index names. Needs coreutils, tar and python3.
set -euo pipefail
cd "$(dirname "$0")"
sha256sum --quiet --strict -c SHA256SUMS
listed=$(cut -c67- SHA256SUMS | LC_ALL=C sort)
present=$(find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort)
if [ "$listed" != "$present" ]; then
    echo "files that SHA256SUMS does not list:" >&2
    comm -13 <(echo "$listed") <(echo "$present") >&2
    exit 1
fi
for image in recmesh-image-*.tar; do
    python3 - "$image" <<'PYTHON'
import hashlib, json, sys, tarfile

with tarfile.open(sys.argv[1]) as tar:
    def blob(descriptor):
        data = tar.extractfile("blobs/" + descriptor["digest"].replace(":", "/")).read()
        if "sha256:" + hashlib.sha256(data).hexdigest() != descriptor["digest"] or len(data) != descriptor["size"]:
            sys.exit(f"{sys.argv[1]}: {descriptor['digest']} is damaged")
        return data

    for descriptor in json.load(tar.extractfile("index.json"))["manifests"]:
        manifest = json.loads(blob(descriptor))
        for part in [manifest["config"], *manifest["layers"]]:
            blob(part)
        print(descriptor["annotations"]["io.containerd.image.name"] + "@" + descriptor["digest"])
PYTHON
done
echo "every file is as it was packed"
