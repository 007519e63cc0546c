"""The lazy decoder in PyTorch at its best, and ours, in turns: constrained beam search over 18,000 items.

In: our bench program (`micro`), which writes its weights, the items' codes and the histories to a folder; PyTorch reads
them. Out: for each way of running PyTorch (f32, bf16, eight bits) medians and spreads, the ratio, how many of the items
found are the same and how far scores of equal rank lie apart, as text and with --out as JSON. Rounds alternate.

PyTorch computes the context once, folds all beams of a request into the rows of one cross-attention, and looks legal
children up in a dense table of nodes and codes: no loop over beams, no mask made per request, the last level keeps ten.
Histories are of equal length, so nothing is padded. Never judges.

    python3 benches/peers/decoder_torch.py --ours "target/release/deps/micro-HASH --beside"
"""

import argparse
import json
import tempfile
from pathlib import Path
from types import SimpleNamespace

import turns

# Ends of the names of maps between hidden rows.
MAPS = ("qkv", "query", "output", "up", "down", "context.kv")


class Trie:
    """Which child each code leads to, by node: dense tables of the three levels; children of the last are items."""

    def __init__(self, codes, size):
        import torch

        paths = torch.tensor(codes)
        node = torch.zeros(len(paths), dtype=torch.long)
        self.child = []
        for level in range(paths.shape[1]):
            keys = node * size + paths[:, level]
            unique, below = torch.unique(keys, return_inverse=True)
            if level + 1 == paths.shape[1]:
                below = torch.arange(len(paths))
            table = torch.full((int(node.max()) + 1, size), -1, dtype=torch.int32)
            table.view(-1)[keys] = below.int()
            self.child.append(table)
            node = below


def build(folder, int8=False):
    """The decoder by its parts, `decode` from histories to the best items and their scores, and what was asked. `int8` has
    the maps between hidden rows multiplied in eight bits; embeddings, norms, attention and heads stay as they are."""
    import torch
    from torch.nn import functional as F

    w = {name: torch.from_numpy(value) for name, value in turns.tensors(Path(folder) / "model.safetensors").items()}
    batch = json.loads((Path(folder) / "batch.json").read_text())
    beams, k, heads = batch["beams"], batch["k"], batch["heads"]
    codes = torch.tensor(batch["codes"])
    levels, dim = codes.shape[1], w["code"].shape[1]
    size, width = w["head"].shape[0] // levels, dim // heads
    trie = Trie(batch["codes"], size)
    rows = codes + size * torch.arange(levels)
    item = next(value for name, value in w.items() if value.shape == (len(codes), dim))
    bos = w["code"][-1]
    # What only concatenates or reorders weights is done once.
    for name in [f"context.{at}.attention" for at in range(batch["contextLayers"])] + [
        f"layers.{at}.attention" for at in range(batch["layers"])
    ]:
        w[f"{name}.qkv"] = torch.cat([w.pop(f"{name}.{part}") for part in ("query", "key", "value")])

    def norm(x, name):
        return F.rms_norm(x, (x.shape[-1],), w[f"{name}.gain"].view(-1), 1e-6)

    between = [name for name in w if name.startswith(("context.", "layers.")) and name.endswith(MAPS)]
    products = {name: turns.eight_bits(w[name]) for name in between} if int8 else {}

    def linear(x, name):
        return products[name](x) if int8 else F.linear(x, w[name])

    def ffn(x, name):
        gate, value = linear(norm(x, f"{name}.norm"), f"{name}.up").chunk(2, -1)
        return x + linear(F.silu(gate) * value, f"{name}.down")

    def split(x):
        """`[requests, rows, d]` to `[requests, heads, rows, head width]`."""
        return x.unflatten(-1, (heads, width)).transpose(1, 2)

    def context(histories):
        length = histories.shape[1]
        x = (w["code"][rows[histories]].sum(2) + item[histories]) * dim**0.5
        place = torch.arange(length)
        distance = (place[:, None] - place[None, :]).clamp(min=0)
        causal = place[None, :] > place[:, None]
        for at in range(batch["contextLayers"]):
            name = f"context.{at}.attention"
            q, key, v = linear(norm(x, f"{name}.norm"), f"{name}.qkv").chunk(3, -1)
            bias = w[f"{name}.bias"][:, distance].masked_fill(causal, float("-inf"))
            seen = F.scaled_dot_product_attention(split(q), split(key), split(v), attn_mask=bias[None].to(q.dtype))
            x = x + linear(seen.transpose(1, 2).flatten(2), f"{name}.output")
            x = ffn(x, f"context.{at}.ffn")
        parts = linear(x, "context.kv").chunk(2 * batch["kvLayers"], -1)
        part = lambda at, kind, what: split(norm(parts[2 * at + kind], f"context.kv.{at}.{what}"))
        # Newest first is distance 0.
        recency = (length - 1 - place).clamp(min=0)
        return [(part(at, 0, "key"), part(at, 1, "value")) for at in range(batch["kvLayers"])], recency

    def step(x, slices, recency, past):
        """Rows `[requests, beams, d]` through all layers; `past` holds keys and values of earlier levels by layer."""
        for at in range(batch["layers"]):
            name = f"layers.{at}.cross"
            key, value = slices[at * batch["kvLayers"] // batch["layers"]]
            q = split(linear(norm(x, f"{name}.norm"), f"{name}.query"))
            bias = w[f"{name}.bias"][:, recency][None, :, None].to(q.dtype).expand(x.shape[0], heads, x.shape[1], -1)
            seen = F.scaled_dot_product_attention(q, key, value, attn_mask=bias)
            x = x + linear(seen.transpose(1, 2).flatten(2), f"{name}.output")
            name = f"layers.{at}.attention"
            q, key, value = linear(norm(x, f"{name}.norm"), f"{name}.qkv").chunk(3, -1)
            past[at].append((key, value))
            # At most three keys a beam: sums over them are cheaper than an attention call a beam.
            q = q.unflatten(-1, (heads, width))
            scores = [(q * key.unflatten(-1, (heads, width))).sum(-1) for key, _ in past[at]]
            weights = (torch.stack(scores, -1) * width**-0.5).softmax(-1)
            seen = sum(
                weights[..., level, None] * value.unflatten(-1, (heads, width))
                for level, (_, value) in enumerate(past[at])
            )
            x = x + linear(seen.flatten(2), f"{name}.output")
            x = ffn(x, f"layers.{at}.ffn")
        return x

    def logits_of(x, level):
        head = w["head"][level * size : (level + 1) * size]
        return F.linear(norm(x, f"head.{level}.norm"), head).float()

    def input_of(codes, level):
        """Rows of the codes that were chosen one level up; BOS has none."""
        return w["code"][codes + (level - 1) * size] * dim**0.5

    def decode(histories):
        slices, recency = context(histories)
        requests = histories.shape[0]
        past = [[] for _ in range(batch["layers"])]
        x = (bos * dim**0.5).expand(requests, 1, dim)
        nodes = torch.zeros(requests, 1, dtype=torch.long)
        scores = torch.zeros(requests, 1)
        for level in range(levels):
            x = step(x, slices, recency, past)
            logits = logits_of(x, level)
            child = trie.child[level][nodes]
            offered = (logits.log_softmax(-1) + scores[..., None]).masked_fill(child < 0, float("-inf")).flatten(1)
            last = level + 1 == levels
            scores, best = offered.topk(min(k if last else beams, offered.shape[1]))
            nodes = child.flatten(1).gather(1, best).long()
            if last:
                return nodes, scores
            parent = best // size
            pick = lambda rows: rows.gather(1, parent[..., None].expand(-1, -1, dim))
            past = [[(pick(key), pick(value)) for key, value in layer] for layer in past]
            x = input_of(best % size, level + 1)

    return SimpleNamespace(
        decode=decode, context=context, step=step, logits_of=logits_of, input_of=input_of, bos=bos * dim**0.5,
        histories=torch.tensor(batch["histories"]), codes=batch["codes"], beams=beams, k=k, size=size, levels=levels,
        dim=dim, layers=batch["layers"],
    )


def theirs(args):
    """PyTorch's side."""
    import torch

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    if args.compiled:
        # Weights are constants: they are packed for the product once.
        import torch._inductor.config as inductor

        inductor.freezing = True
    built = build(args.theirs, args.dtype == "int8")
    decode = torch.compile(built.decode, dynamic=False) if args.compiled else built.decode
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "bf16"):
        found = decode(built.histories)

        def work():
            nonlocal found
            found = decode(built.histories)

        def outcome():
            items, scores = found
            return {"items": items.tolist(), "scores": scores.tolist(), "torch": torch.__version__}

        turns.serve(args.rounds, work, outcome)


def compare(args, side, way):
    style, dtype = way.split("-")
    with tempfile.TemporaryDirectory() as folder:
        mode = ["--theirs", folder, "--dtype", dtype] + ["--compiled"] * (style == "compiled")
        us, them, row = turns.compare(args, [side, folder, str(args.beams)], __file__, mode)
    peer = f"PyTorch {them['torch']} {dtype} {style}"
    row = {"side": side, "requests": len(us["items"]), "beams": args.beams, "peer": peer, **row, **turns.agreement(us, them)}
    return turns.told(row, f"{side:16} {peer:34}", turns.agreed(row))


def main():
    parser = turns.arguments(rounds=15)
    parser.add_argument("--beams", type=int, default=128)
    parser.add_argument("--sides", default="decode,decode-one,decode-int8,decode-one-int8", help="16 requests a round, or one")
    parser.add_argument("--ways", default="eager-f32,compiled-f32,eager-bf16,compiled-bf16,eager-int8")
    parser.add_argument("--dtype", default="f32", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.theirs:
        return theirs(args)
    rows = [compare(args, side, way) for side in args.sides.split(",") for way in args.ways.split(",")]
    turns.write(args, rows, what="decode")


if __name__ == "__main__":
    main()
