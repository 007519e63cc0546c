#!/usr/bin/env python3
"""Makes a one-layer image archive for tests: mkimage.py OUT.tar NAME:TAG FOLDER ENTRYPOINT.

FOLDER is the root file system, ENTRYPOINT a JSON list of words. The archive is of the docker kind, which containerd
imports under the name written in it. Our own image is made by charts/image; this makes the two of a test node.
"""
import hashlib
import io
import json
import os
import sys
import tarfile


def to_root(member):
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def main(out, name, folder, entrypoint):
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in sorted(os.listdir(folder)):
            tar.add(os.path.join(folder, entry), entry, filter=to_root)
    layer = layer.getvalue()
    digest = hashlib.sha256(layer).hexdigest()
    config = {
        "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
        "os": "linux",
        "config": {"Entrypoint": json.loads(entrypoint), "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    config = json.dumps(config).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    layer_name = f"{digest}/layer.tar"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": [layer_name]}]).encode()
    with tarfile.open(out, "w") as tar:
        for path, data in ((config_name, config), (layer_name, layer), ("manifest.json", manifest)):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o644
            tar.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
