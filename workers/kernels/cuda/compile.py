#!/usr/bin/env python3
"""Compiles every .cu here for sm_90a, without a device and without a toolkit, and holds the result against bounds.json.

    python3 workers/kernels/cuda/compile.py [--cache FOLDER] [--out FOLDER]

Installs pinned wheels from PyPI into a virtual environment under the cache folder (once), compiles with NVRTC, and reads
registers, spills and instructions back from the machine code. Fails when a kernel has no bound, spills, needs more
registers than its bound, or lacks an instruction named there. With --out the cubins are kept. Runs nothing on a GPU.
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
# NVRTC and its headers are of one release, so that a cubin has one hash; the readers understand older cubins.
WHEELS = [
    "nvidia-cuda-nvrtc-cu12==12.9.86",
    "nvidia-cuda-runtime-cu12==12.9.79",
    "nvidia-cuda-cuobjdump==13.2.78",
    "nvidia-cuda-nvdisasm==13.2.78",
]
OPTIONS = ["--gpu-architecture=sm_90a", "--std=c++17", "--fmad=false", "--prec-div=true", "--prec-sqrt=true", "--ftz=false"]


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
        self.include = packages / "cuda_runtime/include"

    def text(self, program, what):
        size = ctypes.c_size_t()
        getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(self.library, f"nvrtcGet{what}")(program, buffer)
        return buffer.raw

    def compile(self, path):
        program = ctypes.c_void_p()
        source, name = path.read_bytes(), path.name.encode()
        status = self.library.nvrtcCreateProgram(ctypes.byref(program), source, name, 0, None, None)
        options = [option.encode() for option in [*OPTIONS, f"--include-path={HERE}", f"--include-path={self.include}"]]
        status = status or self.library.nvrtcCompileProgram(
            program, len(options), (ctypes.c_char_p * len(options))(*options)
        )
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
    """Registers, bytes spilled and machine code of the one kernel in a cubin."""
    usage = subprocess.run([tool(packages, "cuobjdump"), "--dump-resource-usage", cubin], capture_output=True, text=True)
    code = subprocess.run([tool(packages, "nvdisasm"), "-c", cubin], capture_output=True, text=True)
    found = re.search(r"REG:(\d+)\s+STACK:(\d+).*?LOCAL:(\d+)", usage.stdout)
    if not found or code.returncode:
        sys.exit(f"cannot read {cubin}: {usage.stderr}{code.stderr}")
    registers, stack, local = map(int, found.groups())
    spills = stack + local + len(re.findall(r"\b(?:LDL|STL)\b", code.stdout))
    return registers, spills, code.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    parser.add_argument("--cache", type=pathlib.Path, default=home / "recmesh")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    packages = wheels(args.cache)
    out = args.out or args.cache / "cubins"
    out.mkdir(parents=True, exist_ok=True)
    bounds, nvrtc, wrong = json.loads((HERE / "bounds.json").read_text()), Nvrtc(packages), []
    print(f"{'kernel':24} registers spills  bytes sha256")
    for path in sorted(HERE.glob("*.cu")):
        name, cubin = path.stem, out / f"{path.stem}.sm_90a.cubin"
        first = nvrtc.compile(path)
        if first != nvrtc.compile(path):
            wrong.append(f"{name}: two compilations differ")
        cubin.write_bytes(first)
        registers, spills, code = read(packages, cubin)
        print(f"{name:24} {registers:9} {spills:6} {len(first):6} {hashlib.sha256(first).hexdigest()[:16]}")
        bound = bounds.pop(name, None)
        if bound is None:
            wrong.append(f"{name}: no bound in bounds.json")
            continue
        if registers > bound["registers"] or spills > bound["spills"]:
            wrong.append(f"{name}: {registers} registers and {spills} spills, bounds {bound}")
        wrong += [f"{name}: no {word} in its code" for word in bound["instructions"] if word not in code]
    wrong += [f"{name}: a bound without a kernel" for name in bounds]
    if wrong:
        sys.exit("\n".join(wrong))


main()
