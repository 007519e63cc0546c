#!/usr/bin/env python3
"""Makes an OCI image archive of one layer out of a folder: mkimage.py OUT.tar NAME:TAG FOLDER [SETTINGS].

SETTINGS is what a container runs, as JSON (`{"Entrypoint": ["/bin/sleep", "infinity"]}`); without it, our program.

The same folder gives the same bytes: names are sorted, times, owners and modes are set, and the layer is not compressed,
because compressors differ from version to version. Everything belongs to root; the program runs as 65532.
Takes no base image, no network, no builder: only Python's standard library.
"""
import hashlib
import io
import json
import os
import platform
import stat
import sys
import tarfile

USER = "65532:65532"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def digest(data):
    return hashlib.sha256(data).hexdigest()


def entries(folder):
    """Paths below a folder, each folder before what is in it, in the order of their names."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        yield path
        if os.path.isdir(path) and not os.path.islink(path):
            yield from entries(path)


def member(path, name):
    """A file's place in the layer, with nothing of the machine it lies on."""
    info = tarfile.TarInfo(name)
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, os.readlink(path), 0o777
    elif stat.S_ISDIR(mode):
        info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
    elif stat.S_ISREG(mode):
        info.size, info.mode = os.path.getsize(path), 0o755 if mode & 0o100 else 0o644
    else:
        sys.exit(f"{path}: neither file, folder nor link")
    return info


def layer_of(folder):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in entries(folder):
            info = member(path, os.path.relpath(path, folder))
            if info.isreg():
                with open(path, "rb") as file:
                    tar.addfile(info, file)
            else:
                tar.addfile(info)
    return data.getvalue()


def document(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def ours(tag):
    """What a container of our own runs."""
    return {
        "Entrypoint": ["/usr/bin/recmesh"],
        "Env": ["PATH=/usr/bin", f"SSL_CERT_FILE={CERTIFICATES}"],
        "User": USER,
        "WorkingDir": "/",
        "Labels": {
            "org.opencontainers.image.title": "recmesh",
            "org.opencontainers.image.version": tag,
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.source": "https://github.com/recmesh/recmesh",
        },
    }


def image(name, folder, settings=None):
    """The files of the archive by path, and the digest of the image."""
    tag = name.rpartition(":")[2]
    layer = layer_of(folder)
    config = document({
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": settings or ours(tag),
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(layer)]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "charts/image/mkimage.py"}],
    })

    def descriptor(kind, data, **more):
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": "sha256:" + digest(data), "size": len(data), **more}

    manifest = document({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", config),
        "layers": [descriptor("layer.v1.tar", layer)],
    })
    # containerd reads the whole name, others only the tag.
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
    index = document({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [descriptor("manifest.v1+json", manifest, annotations=names)],
    })
    files = {"blobs/sha256/" + digest(data): data for data in (config, layer, manifest)}
    files |= {"index.json": index, "oci-layout": document({"imageLayoutVersion": "1.0.0"})}
    return files, "sha256:" + digest(manifest)


def write(out, files):
    folders = ("blobs", "blobs/sha256")
    with tarfile.open(out, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted([*files, *folders]):
            info = tarfile.TarInfo(name)
            if name in folders:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(info)
            else:
                info.size, info.mode = len(files[name]), 0o644
                tar.addfile(info, io.BytesIO(files[name]))


def main():
    if len(sys.argv) not in (4, 5) or ":" not in sys.argv[2]:
        sys.exit(__doc__)
    out, name, folder, *settings = sys.argv[1:]
    files, image_digest = image(name, folder, *map(json.loads, settings))
    write(out, files)
    print(f"{out}: {name}@{image_digest}, {sum(map(len, files.values())) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
