"""The emulator: fetches Bochs' sources, sets right what fixes.py lists, builds it, once per cache folder.

Comes in: the cache folder. Goes out: the path of a Bochs that emulates a Sapphire Rapids without screen or disk.

    Debian's pool, pinned by sha256 ---> sources ---> fixes ---> configure, make ---> CACHE/bochs-KEY/bochs

KEY is made of everything that the build depends on, so that a change of it here builds anew beside the old one.
"""

import hashlib
import pathlib
import shutil
import sys
import tarfile
import tempfile
import urllib.request

from fixes import FIXES
from guest import Trouble, command

VERSION = "3.0"
# Debian's own tarball of that version, which leaves firmware images out; trixie keeps it.
SOURCE = f"http://deb.debian.org/debian/pool/main/b/bochs/bochs_{VERSION}+dfsg.orig.tar.xz"
SHA256 = "78f6c73d4a6472d5130a87ab9dc306d02c7c71ed8e25b3a8ef642e2a7acd282b"
OPTIONS = [
    "--enable-cpu-level=6",
    "--enable-x86-64",
    "--enable-avx",
    "--enable-evex",
    "--enable-amx",
    "--enable-protection-keys",
    "--enable-all-optimizations",
    "--with-nogui",
    "--disable-pci",
    "--disable-gameport",
    "--disable-docbook",
    "CFLAGS=-O2",
    "CXXFLAGS=-O2",
]


def fetch(cache):
    """The tarball, fetched once and compared with its sha256."""
    path = cache / pathlib.PurePosixPath(SOURCE).name
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        try:
            with urllib.request.urlopen(SOURCE, timeout=60) as answer:
                path.write_bytes(answer.read())
        except OSError as error:
            raise Trouble(f"{SOURCE}: {error}; put it into {cache} by hand") from error
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256:
        raise Trouble(f"{path} has sha256 {found}, not {SHA256}; remove it to fetch it again")
    return path


def mend(sources):
    for fix in FIXES:
        path = sources / fix.file
        text = path.read_text()
        if text.count(fix.old) != fix.times:
            raise Trouble(f"{fix.file} holds {text.count(fix.old)} times, not {fix.times}: {fix.old}")
        path.write_text(text.replace(fix.old, fix.new))


def build(cache, jobs):
    """The path of the emulator, built if it is not there."""
    key = hashlib.sha256(repr((SHA256, OPTIONS, FIXES)).encode()).hexdigest()[:12]
    folder = cache / f"bochs-{key}"
    program = folder / "bochs"
    if program.exists():
        return program
    missing = [name for name in ("g++", "gcc", "make") if not shutil.which(name)]
    if missing:
        raise Trouble(f"{', '.join(missing)} not found: the emulator is built here")
    tarball = fetch(cache)
    print(f"building Bochs {VERSION} in {cache} (minutes, once)", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="building-", dir=cache) as half:
        with tarfile.open(tarball) as packed:
            packed.extractall(half)
        sources = next(pathlib.Path(half).iterdir())
        mend(sources)
        command("./configure", *OPTIONS, cwd=sources)
        command("make", f"-j{jobs}", cwd=sources)
        # Moved in one step, so that an interrupted build leaves nothing that passes for a whole one.
        made = pathlib.Path(half) / "made"
        made.mkdir()
        shutil.copy2(sources / "bochs", made / "bochs")
        made.replace(folder)
    return program
