"""A product of two square matrices in bf16, in PyTorch (oneDNN) and ours, in turns.

In: our bench program (`micro`), which writes the matrices in f32 to a folder. Out: for one thread and two a table of
medians and spreads, the ratio, the largest difference of the results, and the share of the peak of the instruction that our
side uses, found by a loop over registers in the same run; as text and with --out as JSON. Our time includes rounding and
packing both sides from f32; PyTorch's matrices are bf16 beforehand, and its result is bf16 where ours is f32. PyTorch's f32
product is timed too, for what the machine does without rounding. Rounds alternate. Never judges.

    python3 benches/peers/gemm_torch.py --ours "target/release/deps/micro-HASH --beside"
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import sys
import tempfile
import time
from pathlib import Path

from step_torch import KEEP, Side, spread


def theirs(folder, count, dtype, threads):
    """PyTorch's side; the protocol of ours."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    kind = {"bf16": torch.bfloat16, "f32": torch.float32}[dtype]
    read = lambda name: torch.from_numpy(np.fromfile(Path(folder) / name, "<f4"))
    a, b = read("a.f32"), read("b.f32")
    size = round(len(a) ** 0.5)
    a, b = a.view(size, size).to(kind), b.view(size, size).to(kind)
    out = torch.empty(size, size, dtype=kind)
    print("ready", flush=True)
    with torch.inference_mode():
        for _ in range(count):
            sys.stdin.readline()
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            print(time.perf_counter() - start, flush=True)
    out.float().numpy().tofile(Path(folder) / "theirs.f32")
    print(json.dumps({"torch": torch.__version__, "onednn": torch.backends.mkldnn.is_available()}), flush=True)


def compare(args, dtype, threads):
    import numpy as np

    cores = {int(core) for core in args.cores.split(",")} if args.cores else None
    with tempfile.TemporaryDirectory() as folder:
        count = str(args.warm + args.rounds)
        ours = Side([*shlex.split(args.ours), f"product-{threads}", folder, count, "0"], cores=cores).ready()
        command = [args.python, __file__, "--theirs", folder, "--rounds", count, "--dtype", dtype]
        other = Side([*command, "--threads", str(threads)], KEEP, cores).ready()
        for _ in range(int(count)):
            ours.work()
            other.work()
        # One after the other: our side measures the peak at its end, on a machine that should do nothing else.
        them, us = other.finish(), ours.finish()
        found, peer = (np.fromfile(Path(folder) / name, "<f4") for name in ("ours.f32", "theirs.f32"))
    mine, their = spread(ours.seconds[args.warm :]), spread(other.seconds[args.warm :])
    operations = 2 * us["size"] ** 3
    rates = lambda side: {key: operations / side[key] / 1e9 for key in side}
    row = {"peer": f"PyTorch {them['torch']} {dtype}", "threads": threads, "size": us["size"], "ours": mine, "theirs": their,
           "ratio": their["median"] / mine["median"], "ratioOfFastest": their["fastest"] / mine["fastest"],
           "oursGflops": rates(mine), "theirsGflops": rates(their), "instruction": us["instruction"],
           "peakGflops": us["peakPerSecond"] / 1e9, "shareOfPeak": operations / mine["median"] / us["peakPerSecond"],
           "shareOfPeakOfFastest": operations / mine["fastest"] / us["peakPerSecond"],
           "largestDifference": float(np.abs(found - peer).max()), "largestResult": float(np.abs(found).max())}
    print(f"{row['peer']:28} {threads} threads  ours {row['oursGflops']['median']:7.1f} ({row['oursGflops']['fastest']:.1f})"
          f"   theirs {row['theirsGflops']['median']:7.1f} ({row['theirsGflops']['fastest']:.1f}) GFLOP/s"
          f"   ratio {row['ratio']:.2f}   {row['shareOfPeak']:.0%} ({row['shareOfPeakOfFastest']:.0%}) of"
          f" {row['peakGflops']:.1f} by {row['instruction']}   difference {row['largestDifference']:.3g}"
          f" of {row['largestResult']:.3g}", flush=True)
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", help="command of our side, up to and with --beside")
    parser.add_argument("--python", default=sys.executable, help="a Python with torch and numpy")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warm", type=int, default=2, help="rounds before those that count")
    parser.add_argument("--cores", default="", help="as 0,1: both sides run on these cores only")
    parser.add_argument("--ways", default="bf16,f32", help="PyTorch's; ours is bf16")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--theirs", help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default="bf16", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.theirs:
        return theirs(args.theirs, args.rounds, args.dtype, args.threads)
    rows = [compare(args, way, threads) for way in args.ways.split(",") for threads in (1, 2)]
    if args.out:
        report = {"what": "product", "rounds": args.rounds, "date": datetime.date.today().isoformat(),
                  "machine": platform.processor() or platform.machine(), "loadAverage": os.getloadavg(), "rows": rows}
        args.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
