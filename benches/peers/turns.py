"""What the comparisons of this folder share: two programs that take turns, what is said of their times, and the report.

A side is a program that prints `ready`, then works once for every line it reads and prints the seconds, and at the end one
line of JSON. In: commands and arguments. Out: rows of medians and spreads with the ratio, as text and as JSON. Rounds
alternate, so that what else the machine does falls on both; each begins when the other side's threads, some of which spin
for milliseconds after their work, have gone to sleep. Never judges.
"""

import argparse
import datetime
import json
import os
import resource
import shlex
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

# An allocator that gives large pages back at every round makes PyTorch up to 1.5 times slower: keep them.
KEEP = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(4 << 30)}


class Side:
    """A program that does one piece of work a line."""

    def __init__(self, command, environment=None, cores=None):
        pin = (lambda: os.sched_setaffinity(0, cores)) if cores else None
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=pin,
            env={**os.environ, **(environment or {})},
        )
        self.seconds = []

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("a side went away")
        return line

    def ready(self):
        while self.line().strip() != "ready":
            pass
        return self

    def work(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.seconds.append(float(self.line()))

    def processor(self):
        """Seconds of processor time that the program has taken, all threads together, to a hundredth."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settle(self):
        """Waits until its threads take no more processor time: a pool that spins would hold up the other side."""
        before = None
        while before != (before := self.running()):
            time.sleep(0.01)

    def running(self):
        """Nanoseconds on a processor of each of its threads that is there."""
        times = {}
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                times[thread.name] = (thread / "schedstat").read_text().split()[0]
            except OSError:
                continue  # It has ended meanwhile.
        return times

    def finish(self):
        outcome = json.loads(self.line())
        self.process.wait()
        return outcome


def serve(count, work, outcome):
    """The peer's half of the protocol: `work` a line, then what `outcome` gives beside the most memory ever held."""
    print("ready", flush=True)
    for _ in range(count):
        sys.stdin.readline()
        start = time.perf_counter()
        work()
        print(time.perf_counter() - start, flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({**outcome(), "peakBytes": peak}), flush=True)


def tensors(path):
    """The arrays of a safetensors file of f32."""
    import numpy as np

    data = Path(path).read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    body = data[8 + size :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"]).copy()
        for name, entry in header.items()
    }


def eight_bits(weight, bias=None):
    """A function that multiplies rows by a PyTorch matrix `[out, in]` in eight bits, as PyTorch does it: a scale an output,
    rows quantised as they come, one scale for all of them. It is not for `torch.compile`, which cannot see into it."""
    import warnings

    import torch

    warnings.filterwarnings("ignore", message="torch.quantize_per_tensor")

    scales = weight.abs().amax(1).clamp(min=1e-12) / 127
    codes = torch.quantize_per_channel(weight, scales, torch.zeros(len(weight), dtype=torch.long), 0, torch.qint8)
    packed = torch.ops.quantized.linear_prepack(codes, bias)
    return lambda x: torch.ops.quantized.linear_dynamic(x.contiguous(), packed)


def arguments(rounds, warm=3, python="a Python with torch and numpy"):
    """The arguments of all comparisons."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", help="command of our side, up to and with --beside")
    parser.add_argument("--python", default=sys.executable, help=python)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--warm", type=int, default=warm, help="rounds before those that count")
    parser.add_argument("--cores", default="", help="as 0,1: both sides run on these cores only")
    parser.add_argument("--threads", type=int, default=2, help="of the peer")
    parser.add_argument("--out", type=Path)
    # The peer's side is the same script again.
    parser.add_argument("--theirs", help=argparse.SUPPRESS)
    return parser


def spread(seconds):
    return {"median": statistics.median(seconds), "fastest": min(seconds), "slowest": max(seconds)}


def compare(args, ours, script, theirs, environment=None, command=None):
    """Runs our side (`[side, folder, number]`) and the peer's in turns; `theirs` are arguments to the script, or `command`
    is the peer's whole. Gives what each told at the end, and a row of times."""
    count = str(args.warm + args.rounds)
    cores = {int(core) for core in args.cores.split(",")} if args.cores else None
    name, folder, *number = ours
    us = Side([*shlex.split(args.ours), name, folder, count, *number], cores=cores).ready()
    command = command or [args.python, script, "--rounds", count, "--threads", str(args.threads), *theirs]
    them = Side(command, KEEP if environment is None else environment, cores).ready()
    for at in range(int(count)):
        if at == args.warm:
            before = us.processor(), them.processor()
        for side in (us, them):
            side.work()
            side.settle()
    processor = [(side.processor() - start) / args.rounds for side, start in zip((us, them), before)]
    # One after the other: a side may measure something more at its end.
    told = them.finish(), us.finish()
    mine, peer = spread(us.seconds[args.warm :]), spread(them.seconds[args.warm :])
    row = {"ours": mine, "theirs": peer, "ratio": peer["median"] / mine["median"]}
    row |= {"ratioOfFastest": peer["fastest"] / mine["fastest"], "processorSeconds": dict(zip(("ours", "theirs"), processor))}
    row["peakBytes"] = {"ours": told[1]["peakBytes"], "theirs": told[0]["peakBytes"]}
    return told[1], told[0], row


def told(row, label, more=""):
    """Prints a row: times in milliseconds, median, fastest and slowest."""
    times = lambda side: " ".join(f"{1e3 * side[key]:8.2f}" for key in ("median", "fastest", "slowest"))
    ours, theirs = row["processorSeconds"].values()
    memory = row["peakBytes"]
    print(f"{label}  ours {times(row['ours'])} ms   theirs {times(row['theirs'])} ms   ratio {row['ratio']:.2f}"
          f" (fastest {row['ratioOfFastest']:.2f}, processor {theirs / max(ours, 1e-9):.2f})"
          f"   MB {memory['ours'] / 1e6:.0f} : {memory['theirs'] / 1e6:.0f}{more}", flush=True)
    return row


def agreement(us, them):
    """Which items are the same, and how far scores of equal rank lie apart."""
    shared = sum(len(set(a) & set(b)) for a, b in zip(us["items"], them["items"], strict=True))
    pairs = ((x, y) for a, b in zip(us["scores"], them["scores"], strict=True) for x, y in zip(a, b))
    return {
        "sharedOfTheBest": shared / sum(map(len, us["items"])),
        "largestScoreDifference": max(abs(x - y) for x, y in pairs),
    }


def agreed(row):
    return f"   shared {row['sharedOfTheBest']:.4f}, scores within {row['largestScoreDifference']:.1e}"


def write(args, rows, **about):
    """Writes the report where one is asked for."""
    if not args.out:
        return
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    report = {**about, "threads": args.threads, "rounds": args.rounds, "date": datetime.date.today().isoformat(),
              "machine": f"{model.partition(':')[2].strip()}, {os.cpu_count()} cores", "loadAverage": os.getloadavg(),
              "rows": rows}
    args.out.write_text(json.dumps(report, indent=2) + "\n")
