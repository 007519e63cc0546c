"""A product of two square matrices in bf16, in PyTorch (oneDNN) and ours, in turns.

In: our bench program (`micro`), which writes the matrices in f32 to a folder. Out: for one thread and two a table of
medians and spreads, the ratio, the largest difference of the results, and the share of the peak of the instruction that our
side uses, found by a loop over registers in the same run; as text and with --out as JSON. Our time includes rounding and
packing both sides from f32; PyTorch's matrices are bf16 beforehand, and its result is bf16 where ours is f32. PyTorch's f32
product is timed too, for what the machine does without rounding. Rounds alternate. Never judges.

    python3 benches/peers/gemm_torch.py --ours "target/release/deps/micro-HASH --beside"
"""

import argparse
import tempfile
from pathlib import Path

import turns


def theirs(args):
    """PyTorch's side."""
    import numpy as np
    import torch

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    kind = {"bf16": torch.bfloat16, "f32": torch.float32}[args.dtype]
    read = lambda name: torch.from_numpy(np.fromfile(Path(args.theirs) / name, "<f4"))
    a, b = read("a.f32"), read("b.f32")
    size = round(len(a) ** 0.5)
    a, b = a.view(size, size).to(kind), b.view(size, size).to(kind)
    out = torch.empty(size, size, dtype=kind)

    def outcome():
        out.float().numpy().tofile(Path(args.theirs) / "theirs.f32")
        return {"torch": torch.__version__}

    with torch.inference_mode():
        turns.serve(args.rounds, lambda: torch.mm(a, b, out=out), outcome)


def compare(args, dtype, threads):
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        # Our side measures the peak at its end, on a machine that should do nothing else.
        args.threads = threads
        ours = [f"product-{threads}", folder, "0"]
        us, them, row = turns.compare(args, ours, __file__, ["--theirs", folder, "--dtype", dtype])
        found, peer = (np.fromfile(Path(folder) / name, "<f4") for name in ("ours.f32", "theirs.f32"))
    operations = 2 * us["size"] ** 3
    rates = lambda side: {key: operations / side[key] / 1e9 for key in side}
    mine = row["ours"]
    row = {"peer": f"PyTorch {them['torch']} {dtype}", "threads": threads, "size": us["size"], **row,
           "oursGflops": rates(mine), "theirsGflops": rates(row["theirs"]), "instruction": us["instruction"],
           "peakGflops": us["peakPerSecond"] / 1e9, "shareOfPeak": operations / mine["median"] / us["peakPerSecond"],
           "shareOfPeakOfFastest": operations / mine["fastest"] / us["peakPerSecond"],
           "largestDifference": float(np.abs(found - peer).max()), "largestResult": float(np.abs(found).max())}
    more = (f"   GFLOP/s {row['oursGflops']['median']:.1f} : {row['theirsGflops']['median']:.1f}, {row['shareOfPeak']:.0%}"
            f" ({row['shareOfPeakOfFastest']:.0%}) of {row['peakGflops']:.1f} by {row['instruction']}"
            f"   difference {row['largestDifference']:.3g} of {row['largestResult']:.3g}")
    return turns.told(row, f"{row['peer']:28} {threads} threads", more)


def main():
    parser = turns.arguments(rounds=15, warm=2)
    parser.add_argument("--ways", default="bf16,f32", help="PyTorch's; ours is bf16")
    parser.add_argument("--dtype", default="bf16", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.theirs:
        return theirs(args)
    rows = [compare(args, way, threads) for way in args.ways.split(",") for threads in (1, 2)]
    turns.write(args, rows, what="product")


if __name__ == "__main__":
    main()
