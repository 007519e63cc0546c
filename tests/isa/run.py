#!/usr/bin/env python3
"""Runs a static test program on an emulated Sapphire Rapids: AMX, AVX512-BF16 and whatever else it has.

    tests/isa/run.py [--cache DIR] [--limit SECONDS] BINARY [ARGUMENT ...]
    tests/isa/run.py --probe        what the emulator itself is checked by: probe.cpp

Comes in: a static x86-64 Linux program. Goes out: what it prints, and its exit status as this script's own; 124 when
the limit is reached, 125 when the rig itself fails or the guest stops without a word. README.md says what that shows.
It never installs anything: sources, kernel and emulator lie in the cache folder (default ~/.cache/recmesh-isa), which
can be removed at any time.
"""

import argparse
import codecs
import os
import pathlib
import re
import select
import subprocess
import sys
import tempfile
import time

import bochs
import guest

ENDED = re.compile(r"^recmesh-isa: (exit|signal) (\d+)\n", re.MULTILINE)


def settings(rom, ram, line, log):
    """Bochs' settings: one CPU, memory, a serial port; no other device that can be left out."""
    images = [f'optramimage{at + 1}: file="{path}", address={place:#x}' for at, (path, place) in enumerate(ram)]
    memory = guest.MEMORY // guest.MEBIBYTE
    return "\n".join(
        [
            "config_interface: textconfig",
            "display_library: nogui",
            f"cpu: model=sapphire_rapids, count=1, ips={guest.RATE}, reset_on_triple_fault=0, ignore_bad_msrs=1",
            f"memory: guest={memory}, host={memory}",
            f'romimage: file="{rom}", address=0xffff0000, options=none',
            f'vgaromimage: file="{rom.with_name("vga.bin")}"',
            *images,
            f'com1: enabled=1, mode=file, dev="/dev/fd/{line}"',
            "clock: sync=none, time0=1767225600",
            "vga: extension=none",
            "speaker: enabled=0",
            f'log: "{log}"',
            "panic: action=fatal",
            "error: action=ignore",
            "info: action=ignore",
            "debug: action=ignore",
            "",
        ]
    )


def follow(line, limit):
    """Prints what comes over the serial line until the guest says how the program ended; that, or None."""
    text, shown, deadline = "", 0, time.monotonic() + limit
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([line], [], [], left)[0]:
            raise TimeoutError
        piece = os.read(line, 65536)
        text += decoder.decode(piece).replace("\r", "")
        ended = ENDED.search(text, shown)
        end = ended.start() if ended else text.rfind("\n") + 1
        print(text[shown:end], end="", flush=True)
        shown = end
        if ended or not piece:
            return ended


def emulate(emulator, folder, rom, ram, limit):
    """Starts the emulator and gives the program's exit status, as a shell would."""
    line, written = os.pipe()
    log = folder / "bochs.log"
    path = folder / "bochsrc"
    path.write_text(settings(rom, ram, written, log))
    with open(folder / "said", "wb") as said:
        machine = subprocess.Popen(
            [emulator, "-q", "-f", path],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            pass_fds=[written],
            cwd=folder,
        )
    os.close(written)
    try:
        ended = follow(line, limit)
    except TimeoutError:
        print(f"\nisa: the guest was stopped: it ran longer than {limit} s (--limit)", file=sys.stderr)
        return 124
    finally:
        machine.kill()
        machine.wait()
        os.close(line)
    if not ended:
        heard = [path.read_text(errors="replace") for path in (folder / "said", log) if path.exists()]
        complaints = [text for text in "\n".join(heard).splitlines() if "PANIC" in text]
        print("isa: the guest stopped without saying how the program ended", *complaints, sep="\n", file=sys.stderr)
        return 125
    kind, number = ended[1], int(ended[2])
    if kind == "signal":
        print(f"isa: the program was ended by signal {number}", file=sys.stderr)
        return 128 + number
    return number


def probe(folder):
    """The program that the emulator is checked by."""
    made = folder / "probe"
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-static"]
    guest.command("g++", *flags, "-o", made, guest.HERE / "probe.cpp")
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=pathlib.Path, default=pathlib.Path.home() / ".cache/recmesh-isa")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for the guest (default 1800)")
    parser.add_argument("--loud", action="store_true", help="show the kernel's messages as well")
    parser.add_argument("--jobs", type=int, default=2, help="of the emulator's build")
    parser.add_argument("--probe", action="store_true", help="run probe.cpp in place of a BINARY")
    parser.add_argument("program", nargs=argparse.REMAINDER, metavar="BINARY [ARGUMENT ...]")
    asked = parser.parse_args()
    if asked.probe == bool(asked.program):
        parser.error("either --probe or a BINARY")
    with tempfile.TemporaryDirectory(prefix="recmesh-isa-") as made:
        folder = pathlib.Path(made)
        try:
            began = time.monotonic()
            emulator = bochs.build(asked.cache.resolve(), asked.jobs)
            binary, *arguments = [probe(folder)] if asked.probe else asked.program
            words = "earlyprintk=serial,ttyS0,115200 ignore_loglevel" if asked.loud else "loglevel=3"
            rom, ram = guest.lay_out(asked.cache.resolve(), folder, binary, arguments, words)
            ready = time.monotonic()
            status = emulate(emulator, folder, rom, ram, asked.limit)
            done = time.monotonic()
        except guest.Trouble as trouble:
            print(f"isa: {trouble}", file=sys.stderr)
            return 125
    print(f"isa: status {status}; {ready - began:.0f} s to prepare, {done - ready:.0f} s emulated", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
