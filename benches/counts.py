"""Counts the instructions of our own hot loops, so that a regression shows on a noisy machine.

In: our bench program (`micro`) and valgrind. Out: instructions of one round of each piece of work, written to
benches/results/instructions.json; with --check they are compared with what stands there, and a growth by more than five
percent, or a piece that was never recorded, fails. A round is what two rounds cost beyond one, so that start-up does not
count. Valgrind has no AVX-512, so the AVX2 loops are what is counted.

    python3 benches/counts.py --ours "target/release/deps/micro-HASH --beside" [--check]
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "instructions.json"
MOST_GROWTH = 1.05
# Pieces of work and their number: beams of a decoder, width of a scan's vectors (0: random ones), spread of a step's logits.
SIDES = {"inference": "0", "inference-int8": "0", "scan": "0", "scan-int8": "0", "decode-one-thread": "32",
         "decode-int8": "8", "beam": "4"}
# These take many minutes: counted where they are named.
LONG = {"step": "0", "step-bf16": "0"}


def instructions(ours, side, rounds):
    with tempfile.TemporaryDirectory() as folder:
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind.out"]
        command = [*tool, *shlex.split(ours), side, folder, str(rounds), (SIDES | LONG)[side]]
        done = subprocess.run(command, input="\n" * rounds, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or not found:
        sys.exit(f"{side} failed:\n{done.stderr[-2000:]}")
    return int(found[1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True, help="command of our side, up to and with --beside")
    parser.add_argument("--sides", default=",".join(SIDES), help=f"also {', '.join(LONG)}, which take many minutes")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    unknown = set(args.sides.split(",")) - set(SIDES | LONG)
    if unknown:
        parser.error(f"no such pieces of work: {', '.join(sorted(unknown))}; there are {', '.join(SIDES | LONG)}")
    counts = {side: instructions(args.ours, side, 2) - instructions(args.ours, side, 1) for side in args.sides.split(",")}
    print(json.dumps(counts, indent=2))
    if not args.check:
        RESULTS.write_text(json.dumps({"level": "avx2", "instructions": counts}, indent=2) + "\n")
        return
    before = json.loads(RESULTS.read_text())["instructions"]
    missing = [side for side in counts if side not in before]
    if missing:
        sys.exit("never recorded: " + ", ".join(missing))
    grown = [side for side, count in counts.items() if count > MOST_GROWTH * before[side]]
    if grown:
        sys.exit("more than five percent above the recorded count: " + ", ".join(f"{s} {before[s]}" for s in grown))


if __name__ == "__main__":
    main()
