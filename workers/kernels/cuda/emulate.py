#!/usr/bin/env python3
"""Runs every kernel here on the CPU, compiled by g++ over an emulator of CUDA, and compares it with naive references.

    python3 workers/kernels/cuda/emulate.py [NAME ...] [--jobs 2]
    python3 workers/kernels/cuda/emulate.py --driver FOLDER [--suite PROGRAM]

Needs python3 and g++, no GPU, no CUDA. What it shows is logic: indexing, masks, edges, barriers, the layouts of
descriptors and fragments as documented. What it does not show: speed, registers, memory ordering between real warps, or
anything the hardware does otherwise than documented. After the tests it breaks the kernels on purpose, one fault at a
time (emulator/faults.json): a fault that no test notices fails the run, so that it cannot pass by seeing nothing.

With --driver the same kernels become a libcuda.so.1 and a libcublasLt.so.12 (emulator/driver), on which the program that
checks a device checks its own host side, again with faults (emulator/driver/faults.json).
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-fno-extern-tls-init", "-fno-strict-aliasing"]
FLAGS += ["-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-psabi"]

# Exit codes of the suite on the emulated driver: a check broke, or memory was never freed.
BROKEN, LEAKED = 1, 97

# What is broken, in which file, by which replacement of a text that stands there once; the test that must notice.
FAULTS = json.loads((HERE / "emulator/faults.json").read_text())


def compile_header(folder):
    """The emulator's own header, compiled once: all tests begin with it."""
    header, made = HERE / "emulator/check.hpp", folder / "precompiled.hpp.gch"
    command = ["g++", *FLAGS, "-w", f"-I{HERE / 'emulator'}", "-x", "c++-header", header, "-o", made]
    subprocess.run(command, check=True)


def build_and_run(name, sources, folder):
    """Exit status and output of a test over the kernels in `sources`; no status when it does not compile."""
    program = (folder if sources == HERE else sources) / f"test-{name}"
    paths = [f"-I{folder}", f"-I{sources}", f"-I{HERE / 'emulator'}", f"-I{HERE}"]
    source = HERE / f"emulator/tests/{name}.cpp"
    command = ["g++", *FLAGS, *paths, "-include", "precompiled.hpp", source, "-o", program]
    built = subprocess.run(command, capture_output=True, text=True)
    if built.returncode:
        return None, built.stderr
    ran = subprocess.run([program], capture_output=True, text=True, timeout=300)
    return ran.returncode, (built.stderr + ran.stdout + ran.stderr).strip()


def test(name, folder):
    status, said = build_and_run(name, HERE, folder)
    return status == 0, said


def break_one(fault, folder):
    what, file, old, new, name = (fault[key] for key in ("what", "file", "replace", "by", "noticedBy"))
    text = (HERE / file).read_text()
    if text.count(old) != 1:
        return False, f"fault '{what}': {file} does not hold its place once"
    sources = pathlib.Path(tempfile.mkdtemp(dir=folder))
    for path in [*HERE.glob("*.cu"), *HERE.glob("*.cuh")]:
        shutil.copy(path, sources)
    (sources / file).write_text(text.replace(old, new))
    status, said = build_and_run(name, sources, folder)
    if status is None:
        return False, f"fault '{what}' does not compile:\n{said}"
    return status != 0, f"fault '{what}' in {file}: {'noticed' if status else 'NOT NOTICED'} by {name}"


def entries_of(cubin):
    """The entries of machine code: names of its sections of instructions."""
    return sorted({name.decode() for name in re.findall(rb"\0\.text\.(\w+)(?=\0)", cubin.read_bytes())})


def build_driver(to, jobs):
    """A driver library and one of products over the emulator, in folder `to`: see emulator/driver/driver.cpp."""
    to.mkdir(parents=True, exist_ok=True)
    flags = [*FLAGS, "-fPIC", "-mtls-dialect=gnu2", "-fvisibility=hidden"]
    flags += [f"-I{HERE / 'emulator/driver'}", f"-I{HERE}"]
    parts = {path.stem: (path, []) for path in (HERE / "emulator/driver").glob("*.cpp")}
    for path in sorted(HERE.glob("*.cu")):
        source = to / f"{path.stem}.cpp"
        names = entries_of(HERE / f"cubins/{path.stem}.sm_90a.cubin")
        added = "".join(f'const int of_{name} = driver::add<&{name}>("{name}", &{name});\n' for name in names)
        source.write_text(f'#include "entries.hpp"\n#include "{path}"\nnamespace {{\n{added}}}\n')
        parts[path.stem] = (source, ["-DEMULATOR_PART", "-Wno-unused-variable"])
    for name in ("memory", "streams"):
        parts[name][1].append("-DEMULATOR_PART")

    def build(name):
        source, more = parts[name]
        subprocess.run(["g++", *flags, *more, "-c", source, "-o", to / f"{name}.o"], check=True)
        return name

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        objects = [to / f"{name}.o" for name in pool.map(build, parts)]
    own = to / "blas.o"
    link = ["g++", "-shared", "-Wl,-z,defs", "-Wl,-z,nodelete"]
    driver, products = to / "libcuda.so.1", to / "libcublasLt.so.12"
    objects.remove(own)
    subprocess.run([*link, "-Wl,-soname,libcuda.so.1", *objects, "-o", driver], check=True)
    subprocess.run([*link, "-Wl,-rpath,$ORIGIN", own, driver, "-o", products], check=True)
    for library in (driver, products):
        short = to / library.name.split(".so")[0]
        short = short.with_name(short.name + ".so")
        short.unlink(missing_ok=True)
        short.symlink_to(library.name)


def plant(fault, folder, suite):
    """Whether the suite, on the driver in `folder`, sees a fault that a host could have."""
    what, planted, name = (fault[key] for key in ("what", "fault", "noticedBy"))
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "EMULATED_FAULT": planted}
    command = [suite, "--only", name, "--out", folder / f"fault-{name}.json"]
    ran = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    noticed = ran.returncode in (BROKEN, LEAKED)
    return noticed, f"fault '{what}' of a host: {'noticed' if noticed else 'NOT NOTICED'} by {name}"


def run_suite(folder, suite, jobs):
    """The suite's checks on the emulated driver, then the same with faults; the exit status."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    ran = subprocess.run([suite, "--checks-only", "--out", folder / "gpu-suite.json"], env=environment)
    if ran.returncode:
        return ran.returncode
    faults = json.loads((HERE / "emulator/driver/faults.json").read_text())
    good = True
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for noticed, said in pool.map(lambda fault: plant(fault, folder, suite), faults):
            print(said, flush=True)
            good &= noticed
    return 0 if good else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--driver", type=pathlib.Path, metavar="FOLDER", help="build the emulated driver only")
    parser.add_argument("--suite", type=pathlib.Path, metavar="PROGRAM", help="run the GPU suite on that driver")
    args = parser.parse_args()
    if args.driver:
        folder = args.driver.resolve()
        build_driver(folder, args.jobs)
        sys.exit(run_suite(folder, args.suite.resolve(), args.jobs) if args.suite else 0)
    kernels = {path.stem for path in HERE.glob("*.cu")}
    tests = {path.stem for path in (HERE / "emulator/tests").glob("*.cpp")}
    if kernels != tests:
        sys.exit(f"kernels without a test, or tests without a kernel: {sorted(kernels ^ tests)}")
    names = sorted(set(args.names) & tests if args.names else tests)
    faults = [fault for fault in FAULTS if fault["noticedBy"] in names]
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        folder = pathlib.Path(folder)
        compile_header(folder)
        results = [pool.submit(test, name, folder) for name in names]
        results += [pool.submit(break_one, fault, folder) for fault in faults]
        good = True
        for result in results:
            passed, said = result.result()
            print(said, flush=True)
            good &= passed
    print(f"{len(names)} tests and {len(faults)} faults on an emulator; nothing ran on a GPU")
    sys.exit(0 if good else 1)


main()
