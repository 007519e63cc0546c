"""One step of a constrained beam search, 512 beams over 8,192 codes: ours, PyTorch and numpy, in turns.

In: our bench program (`micro`), which writes logits, beams and the trie's children to a folder. Out: for each way medians
and spreads, the ratio, how many of the 512 next beams are the same and how far scores of equal rank lie apart, as text and
with --out as JSON. Ours works on one thread, PyTorch on --threads. Ways: `masked` adds the trie's mask to the log-softmax
of all codes and takes the best of all of them; `legal` takes the logarithm of the sum and gathers legal children only.
Never judges.

    python3 benches/peers/beam_torch.py --ours "target/release/deps/micro-HASH --beside"
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

import turns

CODES = 8192


def read(folder):
    """Logits, nodes, scores; for every node its codes in a row, padded with the number of codes, and a mask."""
    folder = Path(folder)
    logits = np.fromfile(folder / "logits.f32", "<f4").reshape(-1, CODES)
    beams = json.loads((folder / "batch.json").read_text())["beams"]
    offsets, codes = (np.fromfile(folder / f"{name}.u32", "<u4").astype(np.int64) for name in ("offsets", "codes"))
    counts = np.diff(offsets)
    legal = np.full((len(counts), counts.max()), CODES, np.int64)
    legal[np.repeat(np.arange(len(counts)), counts), np.arange(len(codes)) - np.repeat(offsets[:-1], counts)] = codes
    mask = np.ones((len(counts), CODES), bool)
    mask[np.repeat(np.arange(len(counts)), counts), codes] = False
    nodes, scores = np.array([node for node, _ in beams]), np.array([score for _, score in beams], "<f4")
    return logits, nodes, scores, legal, mask


def torch_step(way, data, threads, compiled):
    import torch

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    logits, nodes, scores, legal, mask = map(torch.from_numpy, data)
    beams = len(logits)
    # The pad's logit does not count.
    absent = legal == CODES
    legal = legal.clamp(max=CODES - 1)

    def masked():
        offered = (logits.log_softmax(-1) + scores[:, None]).masked_fill_(mask[nodes], float("-inf")).flatten()
        best, at = offered.topk(beams)
        return at // CODES, at % CODES, best

    def gathered():
        own = legal[nodes]
        offered = logits.gather(1, own) + (scores - logits.logsumexp(-1))[:, None]
        best, at = offered.masked_fill_(absent[nodes], float("-inf")).flatten().topk(beams)
        return at // own.shape[1], own.flatten()[at], best

    step = {"masked": masked, "legal": gathered}[way]
    step = torch.compile(step, dynamic=False) if compiled else step

    def run():
        with torch.inference_mode():
            return step()

    return run, f"PyTorch {torch.__version__}"


def numpy_step(way, data):
    logits, nodes, scores, legal, mask = data
    beams, rows = len(logits), np.arange(len(logits))[:, None]

    def totals():
        top = logits.max(1, keepdims=True)
        return top[:, 0] + np.log(np.exp(logits - top).sum(1))

    def best_of(offered):
        at = np.argpartition(offered, offered.size - beams)[-beams:]
        return at[np.argsort(-offered[at], kind="stable")]

    def masked():
        offered = logits + (scores - totals())[:, None]
        offered[mask[nodes]] = -np.inf
        offered = offered.ravel()
        at = best_of(offered)
        return at // CODES, at % CODES, offered[at]

    def gathered():
        own = legal[nodes]
        offered = logits[rows, np.minimum(own, CODES - 1)] + (scores - totals())[:, None]
        offered[own == CODES] = -np.inf
        offered = offered.ravel()
        at = best_of(offered)
        return at // own.shape[1], own.ravel()[at], offered[at]

    return {"masked": masked, "legal": gathered}[way], f"numpy {np.__version__}"


def theirs(args):
    """The peer's side."""
    library, kind, *compiled = args.way.split("-")
    data = read(args.theirs)
    step, name = numpy_step(kind, data) if library == "numpy" else torch_step(kind, data, args.threads, bool(compiled))
    found = step()

    def work():
        nonlocal found
        found = step()

    def outcome():
        beams = [list(beam) for beam in zip(*(part.tolist() for part in found))]
        return {"beams": beams, "name": f"{name} {' '.join([kind, *compiled])}"}

    turns.serve(args.rounds, work, outcome)


def compare(args, way, logits):
    with tempfile.TemporaryDirectory() as folder:
        ours = ["beam", folder, str(logits)]
        us, them, row = turns.compare(args, ours, __file__, ["--theirs", folder, "--way", way])
    same = {tuple(beam[:2]) for beam in us["beams"]} & {tuple(beam[:2]) for beam in them["beams"]}
    row = {"peer": them["name"], "spreadOfLogits": logits, **row, "sharedOfTheBest": len(same) / len(us["beams"])}
    row["largestScoreDifference"] = max(abs(a[2] - b[2]) for a, b in zip(us["beams"], them["beams"], strict=True))
    return turns.told(row, f"logits ±{logits:<4} {row['peer']:40}", turns.agreed(row))


def main():
    parser = turns.arguments(rounds=31)
    parser.add_argument("--ways", default="torch-masked,torch-legal,torch-masked-compiled,torch-legal-compiled,"
                        "numpy-masked,numpy-legal")
    parser.add_argument("--logits", default="4,0.3", help="logits are uniform in plus and minus this")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.theirs:
        return theirs(args)
    rows = [compare(args, way, float(logits)) for logits in args.logits.split(",") for way in args.ways.split(",")]
    turns.write(args, rows, what="beam step", beams=512, codes=CODES, items=1_000_000)


if __name__ == "__main__":
    main()
