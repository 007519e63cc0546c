#!/usr/bin/env python3
"""Compiles every .cu here for sm_90a, without a device and without a toolkit, and holds the result against bounds.json.

    python3 workers/kernels/cuda/compile.py [--cache FOLDER] [--write-cubins]

Installs pinned wheels from PyPI into a virtual environment under the cache folder (once), compiles with NVRTC, and
reads registers, spills and instructions of every entry back from the machine code. Fails when an entry has no bound,
spills, needs more registers than its bound, lacks an instruction named there or has one that must be absent; and when a
cubin in cubins/ is not, byte for byte, what the sources compile to. --write-cubins rewrites cubins/ and cubins.json.
Runs nothing on a GPU.
"""

import argparse
import ctypes
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
REWRITE = "python3 workers/kernels/cuda/compile.py --write-cubins"
# One release of NVRTC, so that a cubin has one hash; the readers understand older cubins.
WHEELS = ["nvidia-cuda-nvrtc-cu12==12.9.86", "nvidia-cuda-cuobjdump==13.2.78", "nvidia-cuda-nvdisasm==13.2.78"]
OPTIONS = [
    "--gpu-architecture=sm_90a",
    "--std=c++17",
    "--fmad=false",
    "--prec-div=true",
    "--prec-sqrt=true",
    "--ftz=false",
]


def wheels(cache):
    """The folder the wheels lie in."""
    name = hashlib.sha256("\n".join(WHEELS).encode()).hexdigest()[:12]
    folder, done = cache / f"nvrtc-{name}", cache / f"nvrtc-{name}/installed"
    if not done.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-deps", *WHEELS], check=True)
        done.touch()
    return next(folder.glob("lib/python*/site-packages/nvidia"))


class Nvrtc:
    def __init__(self, packages):
        # NVRTC opens its built-in functions by name: loaded beforehand, they are found without a search path.
        for builtins in packages.glob("cuda_nvrtc/lib/libnvrtc-builtins.so*"):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(str(packages / "cuda_nvrtc/lib/libnvrtc.so.12"))
        # Headers go in by name and text: no path of this machine can reach a cubin.
        headers = sorted(HERE.glob("*.cuh"))
        array = ctypes.c_char_p * len(headers)
        self.names = array(*(header.name.encode() for header in headers))
        self.texts = array(*(header.read_bytes() for header in headers))

    def text(self, program, what):
        size = ctypes.c_size_t()
        getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self.library, f"nvrtcGet{what}")(program, buffer)
        return buffer.raw

    def compile(self, path):
        program = ctypes.c_void_p()
        source, name = path.read_bytes(), path.name.encode()
        status = self.library.nvrtcCreateProgram(
            ctypes.byref(program), source, name, len(self.names), self.texts, self.names
        )
        options = (ctypes.c_char_p * len(OPTIONS))(*(option.encode() for option in OPTIONS))
        status = status or self.library.nvrtcCompileProgram(program, len(options), options)
        if status:
            sys.exit(f"{path.name} does not compile:\n{self.text(program, 'ProgramLog').decode()}")
        cubin = self.text(program, "CUBIN")
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        return cubin


def tool(packages, name):
    found = [path for path in packages.rglob(name) if path.is_file() and os.access(path, os.X_OK)]
    if not found:
        sys.exit(f"no {name} among the wheels")
    return found[0]


def read(packages, cubin):
    """Registers, bytes spilled and machine code of every entry in a cubin, by name."""
    usage = subprocess.run(
        [tool(packages, "cuobjdump"), "--dump-resource-usage", cubin], capture_output=True, text=True
    )
    code = subprocess.run([tool(packages, "nvdisasm"), "-c", cubin], capture_output=True, text=True)
    found = re.findall(r"Function (\S+):\s+REG:(\d+)\s+STACK:(\d+).*?LOCAL:(\d+)", usage.stdout)
    sections = dict(re.findall(r"^\.text\.(\S+):\n(.*?)(?=^\.text\.|\Z)", code.stdout, re.M | re.S))
    if not found or code.returncode or {name for name, *_ in found} != set(sections):
        sys.exit(f"cannot read {cubin}: {usage.stderr}{code.stderr}")
    entries = {}
    for name, registers, stack, local in found:
        spills = int(stack) + int(local) + len(re.findall(r"\b(?:LDL|STL)\b", sections[name]))
        entries[name] = int(registers), spills, sections[name]
    return entries


def breaches(name, bound, registers, spills, code):
    """What an entry does that its bound does not allow."""
    if bound is None:
        return [f"{name}: no bound in bounds.json"]
    wrong = []
    if registers > bound["registers"] or spills > bound["spills"]:
        wrong.append(f"{name}: {registers} registers and {spills} spills, bounds {bound}")
    wrong += [f"{name}: no {word} in its code" for word in bound["instructions"] if word not in code]
    wrong += [f"{name}: {word} in its code" for word in bound.get("absent", []) if word in code]
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    parser.add_argument("--cache", type=pathlib.Path, default=home / "recmesh")
    parser.add_argument("--write-cubins", action="store_true")
    args = parser.parse_args()
    packages = wheels(args.cache)
    nvrtc = Nvrtc(packages)
    cubins, listed = HERE / "cubins", HERE / "cubins.json"
    bounds, wrong, digests = json.loads((HERE / "bounds.json").read_text()), [], {}
    made = args.cache / "cubins"
    made.mkdir(parents=True, exist_ok=True)
    print(f"{'entry':24} registers spills")
    for path in sorted(HERE.glob("*.cu")):
        name = f"{path.stem}.sm_90a.cubin"
        cubin = nvrtc.compile(path)
        if cubin != nvrtc.compile(path):
            wrong.append(f"{path.name}: two compilations differ")
        digests[name] = hashlib.sha256(cubin).hexdigest()
        (made / name).write_bytes(cubin)
        for entry, (registers, spills, code) in sorted(read(packages, made / name).items()):
            print(f"{entry:24} {registers:9} {spills:6}")
            wrong += breaches(entry, bounds.pop(entry, None), registers, spills, code)
        if args.write_cubins:
            cubins.mkdir(exist_ok=True)
            (cubins / name).write_bytes(cubin)
        elif not (cubins / name).exists() or (cubins / name).read_bytes() != cubin:
            wrong.append(f"cubins/{name} is not what {path.name} compiles to; rewrite it: {REWRITE}")
    wrong += [f"{entry}: a bound without an entry" for entry in bounds]
    text = json.dumps(digests, indent=2) + "\n"
    if args.write_cubins:
        for stale in set(cubins.glob("*")) - {cubins / name for name in digests}:
            stale.unlink()
        listed.write_text(text)
    else:
        wrong += [f"{path.name}: a cubin without a source" for path in cubins.glob("*") if path.name not in digests]
        if not listed.exists() or listed.read_text() != text:
            wrong.append(f"cubins.json does not hold the digests of the cubins; rewrite it: {REWRITE}")
    if wrong:
        sys.exit("\n".join(wrong))


main()
