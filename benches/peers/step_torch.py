"""SASRec in PyTorch at its best, and ours, in turns: a training step, or answers for 128 users.

In: our bench program (`micro`), which writes its weights and its batch to a folder; PyTorch reads both. Out: for each way
of running PyTorch a table of medians and spreads, the ratio, the losses (or the best items) of both sides and the most
memory each held, as text and with --out as JSON. Rounds alternate, ours and theirs, so that what else the machine does
falls on both. PyTorch runs with fused AdamW, flushed denormals and an allocator that keeps its pages. Never judges.

    python3 benches/peers/step_torch.py --ours "target/release/deps/micro-HASH --beside" step
"""

import argparse
import json
import shlex
import tempfile
from pathlib import Path

import turns

ITEMS, DIM, HEADS, BLOCKS, LENGTH = 12_000, 64, 2, 2, 50


def theirs(args):
    """PyTorch's side."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    weights = {name: torch.from_numpy(value) for name, value in turns.tensors(Path(args.theirs) / "model.safetensors").items()}
    batch = torch.tensor(json.loads((Path(args.theirs) / "batch.json").read_text()))

    class SasRec(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(v) for name, v in weights.items()})
            # One product for query, key and value: the same weights, below each other.
            for block in range(BLOCKS):
                parts = [self.w.pop(f"blocks_{block}_attention_{part}") for part in ("query", "key", "value")]
                self.w[f"blocks_{block}_qkv"] = nn.Parameter(torch.cat([part.data for part in parts]))
            maps = [name for name in self.w if name.endswith(("_qkv", "_output", "_up", "_down"))]
            bias = lambda name: self.w[f"{name}_bias"].data.view(-1) if f"{name}_bias" in self.w else None
            int8 = args.dtype == "int8"
            self.products = {name: turns.eight_bits(self.w[name].data, bias(name)) for name in maps} if int8 else {}

        def norm(self, x, name):
            return F.layer_norm(x, (DIM,), self.w[f"{name}_gain"].view(-1), self.w[f"{name}_bias"].view(-1))

        def linear(self, x, name):
            bias = self.w.get(f"{name}_bias") if f"{name}_bias" in self.w else None
            if name in self.products:
                return self.products[name](x)
            return F.linear(x, self.w[name], None if bias is None else bias.view(-1))

        def drop(self, x):
            return F.dropout(x, args.dropout, self.training) if args.dropout else x

        def forward(self, ids):
            b, n = ids.shape
            x = self.drop(F.embedding(ids, self.w["item"]) * DIM**0.5 + self.w["position"][:n])
            for block in range(BLOCKS):
                name = f"blocks_{block}"
                q, k, v = self.linear(self.norm(x, f"{name}_attention_norm"), f"{name}_qkv").chunk(3, -1)
                split = lambda t: t.view(b, n, HEADS, DIM // HEADS).transpose(1, 2)
                a = F.scaled_dot_product_attention(split(q), split(k), split(v), is_causal=True)
                x = x + self.drop(self.linear(a.transpose(1, 2).reshape(b, n, DIM), f"{name}_attention_output"))
                h = self.drop(F.relu(self.linear(self.norm(x, f"{name}_ffn_norm"), f"{name}_ffn_up")))
                x = x + self.drop(self.linear(h, f"{name}_ffn_down"))
            return self.norm(x, "norm")

    model = SasRec()
    table = next(name for name in model.w if model.w[name].shape == (ITEMS, DIM))
    if table != "item":
        model.w["item"] = model.w.pop(table)
    # Weight decay is 0 and the norm is clipped at 1, as on our side.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, fused=True)

    def loss_of(ids, target):
        with torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "bf16"):
            return F.cross_entropy(F.linear(model(ids).view(-1, DIM), model.w["item"]), target)

    def best_of(ids):
        with torch.autocast("cpu", torch.bfloat16, enabled=args.dtype == "bf16"):
            scores = F.linear(model(ids)[:, -1], model.w["item"])
        return scores.float().topk(10)

    if args.compiled:
        loss_of, best_of = (torch.compile(f, dynamic=False) for f in (loss_of, best_of))
    inputs, target, newest = batch[:, :-1].contiguous(), batch[:, 1:].reshape(-1), batch[:, 1:].contiguous()
    losses, found = [], None

    def step():
        loss = loss_of(inputs, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        losses.append(loss.item())

    def answer():
        nonlocal found
        with torch.inference_mode():
            found = best_of(newest)

    work = step if args.what == "step" else answer
    model.train(args.what == "step")

    def outcome():
        told = {"losses": losses} if found is None else {"scores": found[0].tolist(), "items": found[1].tolist()}
        return {**told, "torch": torch.__version__}

    turns.serve(args.rounds, work, outcome)


def compare(args, way):
    style, dtype = way.split("-")
    suffix = lambda precision: "" if precision == "f32" else f"-{precision}"
    with tempfile.TemporaryDirectory() as folder:
        mode = [args.what, "--theirs", folder, "--dtype", dtype, "--dropout", str(args.dropout)]
        mode += ["--compiled"] * (style == "compiled")
        command, environment = None, None
        if style == "ours":
            # Our own other precision, which writes the same weights and batch once more.
            again = Path(folder) / "again"
            again.mkdir()
            count = str(args.warm + args.rounds)
            command = [*shlex.split(args.ours), args.what + suffix(dtype), str(again), count, str(args.dropout)]
            environment = {}
        ours = [args.what + suffix(args.precision), folder, str(args.dropout)]
        us, them, row = turns.compare(args, ours, __file__, mode, environment, command)
    peer = f"ours {dtype}" if style == "ours" else f"PyTorch {them['torch']} {dtype} {style}"
    row = {"peer": peer, "precision": args.precision, **row}
    if "losses" not in us:
        row |= turns.agreement(us, them)
        return turns.told(row, f"{peer:34}", turns.agreed(row))
    row["largestLossDifference"] = max(abs(a - b) for a, b in zip(us["losses"], them["losses"]))
    row["lastLossDifference"] = abs(us["losses"][-1] - them["losses"][-1])
    row["losses"] = {"ours": [us["losses"][0], us["losses"][-1]], "theirs": [them["losses"][0], them["losses"][-1]]}
    more = f"   losses differ by {row['largestLossDifference']:.1e}, the last by {row['lastLossDifference']:.1e}"
    return turns.told(row, f"{peer:34}", more)


def main():
    parser = turns.arguments(rounds=15)
    parser.add_argument("what", choices=["step", "inference"])
    parser.add_argument("--dropout", type=float, default=0.0, help="above 0 the losses differ: masks are not the same")
    parser.add_argument("--ways", help="PyTorch's, and ours-f32 or ours-bf16: our own side in that precision;"
                        " by default eager and compiled in f32 and bf16, and eager in int8 where the work has it")
    parser.add_argument("--precision", choices=["f32", "bf16", "int8"], default="f32", help="of our side")
    parser.add_argument("--dtype", default="f32", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.theirs:
        return theirs(args)
    wrong = {"step": "int8", "inference": "bf16"}[args.what]
    if args.precision == wrong:
        parser.error(f"our side has no {args.what} in {wrong}")
    usual = "eager-f32,compiled-f32,eager-bf16,compiled-bf16" + ",eager-int8" * (args.what == "inference")
    rows = [compare(args, way) for way in (args.ways or usual).split(",")]
    turns.write(args, rows, what=args.what, precision=args.precision, dropout=args.dropout)


if __name__ == "__main__":
    main()
