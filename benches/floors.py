#!/usr/bin/env python3
"""Floors: the operations and the bytes of one request, divided by what a device can do. Only the last two tables
hold anything measured, beside its floor.

    python3 benches/floors.py            the tables of docs/performance.md
    python3 benches/floors.py --check    fails when that page shows other numbers

A request of the lazy decoder takes one step per code: one row (BOS), then `beams` rows for every further code. A step
takes at least max(operations / rate, bytes / bandwidth); steps follow one another. Counted are matrix products and
attention, and what must come from memory: weights and heads once a step, keys and values of the context once a layer.
Activations are taken to stay on the chip; norms, top-k, launches and gaps between kernels are free.
"""

import argparse
import json
import pathlib
import sys
from dataclasses import dataclass

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs/performance.md"
# Dense rates without sparsity (operations a second) and memory (bytes a second), from the vendor's data sheets.
DEVICES = {
    "H100 SXM": {"bf16": 989e12, "fp8": 1979e12, "bytes": 3.35e12},
    "H200": {"bf16": 989e12, "fp8": 1979e12, "bytes": 4.8e12},
}
# One core: clock of /proc/cpuinfo, two fused multiply-adds of 16 f32 a cycle. Turbo would raise it.
CORE = 2.8e9 * 2 * 16 * 2
WIDTH = {"bf16": 2, "fp8": 1}


@dataclass
class Decoder:
    d: int
    layers: int
    heads: int
    context: int
    beams: int
    codes: int
    levels: int = 3
    ffn: int = 3
    groups: int = 1
    kv_layers: int = 1
    split: int = 1
    context_layers: int = 0

    def layer_weights(self):
        """Cross-attention q, o; self-attention q, k, v, o; SwiGLU gate, value, down."""
        return (6 + 3 * self.ffn) * self.d**2

    def weights(self):
        tables = 2 * self.levels * self.codes * self.d
        return self.layers * self.layer_weights() + tables + self.kv_width() * self.d + self.context_weights()

    def kv_width(self):
        return self.kv_layers * self.split * self.groups * self.d // self.heads

    def context_weights(self):
        """Blocks over the context: self-attention and SwiGLU."""
        return self.context_layers * (4 + 3 * self.ffn) * self.d**2

    def rows(self):
        return [1] + [self.beams] * (self.levels - 1)

    def step(self, level):
        """Operations of layers, attention and head, by kind."""
        rows = self.rows()[level]
        return {
            "layers": 2 * rows * self.layers * self.layer_weights(),
            "attention": 4 * rows * self.layers * self.d * (self.context + level + 1),
            "head": 2 * rows * self.codes * self.d,
        }

    def context_operations(self):
        products = 2 * self.context * (self.context_weights() + self.kv_width() * self.d)
        # Causal: half of all pairs.
        return products + self.context_layers * 4 * self.d * self.context * (self.context + 1) // 2

    def step_bytes(self, kind):
        kv = self.layers * self.split * self.context * self.groups * self.d // self.heads * 2
        return self.layers * self.layer_weights() * WIDTH[kind] + self.codes * self.d * 2 + kv

    def total(self, what):
        return sum(self.step(level)[what] for level in range(self.levels))

    def floor(self, device, kind, attention):
        """Seconds of each step; the head stays in bf16."""
        times = []
        for level in range(self.levels):
            step = self.step(level)
            compute = step["layers"] / device[kind] + step["attention"] / device[attention] + step["head"] / device["bf16"]
            if level == 0:
                compute += self.context_operations() / device[kind]
            times.append(max(compute, self.step_bytes(kind) / device["bytes"]))
        return times


DECODERS = {
    "1B": Decoder(d=1792, layers=18, heads=14, context=3000, beams=512, codes=8192),
    "1.7B": Decoder(d=2304, layers=20, heads=18, context=1000, beams=256, codes=8192),
}
SERVED = dict(d=64, layers=2, heads=4, context=50, codes=256, ffn=4, groups=4, kv_layers=2, split=2, context_layers=2)


# As `benches/peers` has them.
PEER_DECODER = Decoder(d=256, layers=4, heads=4, context=50, beams=128, codes=256, ffn=4, groups=4, kv_layers=2, split=2,
                       context_layers=2)
PEER_BATCH, PEER_LENGTH, PEER_ITEMS = 128, 50, 12_000


def sasrec(d=64, blocks=2, length=50, items=12_000, ffn=1, heads=2):
    """Operations of one request: the last block answers for the last row alone, attending to rows as wide as the model
    with every head, so that no row but the last goes through a projection."""
    whole = 2 * length * (4 + 2 * ffn) * d**2 + 4 * d * length * (length + 1) // 2
    last = 2 * (4 + 2 * ffn) * d**2 + 4 * heads * d * length
    return {"blocks": (blocks - 1) * whole + last, "scan": 2 * items * d}


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def operations():
    rows = []
    for name, model in DECODERS.items():
        parts = [model.total(what) / 1e12 for what in ("layers", "attention", "head")]
        context = model.context_operations() / 1e12
        read = [sum(model.step_bytes(kind) for _ in model.rows()) / 1e9 for kind in ("fp8", "bf16")]
        cells = [f"{part:.3f}" for part in [*parts, context, sum(parts) + context]]
        rows.append([name, f"{model.weights() / 1e9:.3f} G", *cells, *(f"{gigabytes:.2f}" for gigabytes in read)])
    head = ["decoder", "weights", "layers", "attention", "heads", "context", "TFLOP in all", "GB in FP8", "GB in bf16"]
    return table(head, rows)


def devices():
    rows = []
    for name, model in DECODERS.items():
        for label, device in DEVICES.items():
            times = {}
            for kind, attention in (("fp8", "fp8"), ("fp8", "bf16"), ("bf16", "bf16")):
                times[kind, attention] = [seconds * 1e3 for seconds in model.floor(device, kind, attention)]
            slow = sum(times["bf16", "bf16"])
            cells = [" + ".join(f"{t:.2f}" for t in steps) + f" = {sum(steps):.2f}" for steps in times.values()]
            ratios = [slow / sum(times["fp8", attention]) for attention in ("fp8", "bf16")]
            rows.append([name, label, *cells, " / ".join(f"{ratio:.2f}" for ratio in ratios)])
    head = ["decoder", "device", "FP8, FP8 attention", "FP8, bf16 attention", "bf16", "bf16 / FP8"]
    return table(head, rows)


def core():
    parts = sasrec()
    total = sum(parts.values())
    text = f"blocks {parts['blocks'] / 1e6:.2f} + scan {parts['scan'] / 1e6:.2f}"
    rows = [["SASRec, 12,000 items", text, f"{total / 1e6:.2f}", f"{total / CORE * 1e3:.3f}"]]
    for beams in (1, 32, 128, 512):
        model = Decoder(beams=beams, **SERVED)
        parts = [model.total(what) / 1e6 for what in ("layers", "attention", "head")]
        parts.append(model.context_operations() / 1e6)
        text = "layers {:.2f} + attention {:.2f} + heads {:.2f} + context {:.2f}".format(*parts)
        rows.append([f"lazy decoder, beam {beams}", text, f"{sum(parts):.2f}", f"{sum(parts) * 1e6 / CORE * 1e3:.3f}"])
    return table(["model", "MFLOP", "in all", "floor, ms"], rows)


def shares():
    """Medians of benches/results/micro.json beside their floors."""
    results = json.loads((PAGE.parent.parent / "benches/results/micro.json").read_text())
    rows = []
    for row in results["rows"]:
        if row["case"] == "decode by beam":
            model = Decoder(beams=int(row["side"].split()[1]), **SERVED)
            parts = sum(model.total(what) for what in ("layers", "attention", "head")) + model.context_operations()
            floor, found = parts / CORE, row["seconds"]
            rows.append([row["side"], f"{floor * 1e3:.3f}", f"{found * 1e3:.3f}", f"{100 * floor / found:.0f} %"])
    return table(["lazy decoder", "floor, ms", f"measured {results['date']}, ms", "share of the floor"], rows)


def training_step(d=64, blocks=2, ffn=4):
    """Operations of a step of SASRec with the softmax over all items: forward, and twice that back."""
    block = 2 * PEER_LENGTH * (4 + 2 * ffn) * d**2 + 4 * d * PEER_LENGTH * (PEER_LENGTH + 1) // 2
    softmax = 2 * PEER_LENGTH * PEER_ITEMS * d
    return 3 * PEER_BATCH * (blocks * block + softmax)


def beside():
    """Our sides of `benches/peers` in f32 beside what two cores can do, by the loop over registers of the product's run."""
    read = lambda name: json.loads((PAGE.parent.parent / f"benches/results/{name}.json").read_text())
    bf16, peers, decoding = read("bf16"), read("peers")["emeraldRapids"], read("decoding")["emeraldRapids"]
    row_of = lambda rows, **wanted: next(row for row in rows if all(row.get(key) == wanted[key] for key in wanted))
    peak = max(row["peakGflops"] for row in bf16["product"]["rows"] if row["threads"] == 2) * 1e9
    request = sum(PEER_DECODER.total(what) for what in ("layers", "attention", "head")) + PEER_DECODER.context_operations()
    pieces = [
        ("training step of SASRec", training_step(), peers["step"]["rows"][0]),
        ("ten best for 128 users of SASRec", PEER_BATCH * sum(sasrec(ffn=4).values()), peers["inference"]["rows"][0]),
        ("lazy decoder at beam 128, a request", request, row_of(decoding["decodeF32"]["rows"], side="decode-one")),
        ("16 requests", 16 * request, row_of(decoding["decodeF32"]["rows"], side="decode")),
        ("product 2048³ of operands in bf16", 2 * 2048**3, row_of(bf16["product"]["rows"], threads=2)),
    ]
    rows = []
    for name, operations, row in pieces:
        floor, ours = operations / peak, row["ours"]
        cells = [f"{ours[key] * 1e3:.1f}" for key in ("median", "fastest")]
        shares = " / ".join(f"{100 * floor / ours[key]:.0f} %" for key in ("median", "fastest"))
        rows.append([name, f"{operations / 1e9:.2f}", f"{floor * 1e3:.1f}", *cells, shares])
    return table(["piece of work", "GFLOP", f"floor at {peak / 1e9:.0f} GFLOP/s, ms", "median, ms", "fastest, ms", "share"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with docs/performance.md")
    tables = [operations(), devices(), core(), shares(), beside()]
    if not parser.parse_args().check:
        print("\n\n".join(tables))
        return
    page = PAGE.read_text()
    stale = [part for part in tables if part not in page]
    if stale:
        sys.exit(f"{PAGE.name} lacks these tables:\n\n" + "\n\n".join(stale))


main()
