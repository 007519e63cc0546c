"""SASRec in PyTorch at its best, and ours, in turns: a training step, or answers for 128 users.

In: our bench program (`micro`), which writes its weights and its batch to a folder; PyTorch reads both. Out: for each way
of running PyTorch a table of medians and spreads, the ratio, the losses (or the best items) of both sides and the most
memory each held, as text and with --out as JSON. Rounds alternate, ours and theirs, so that what else the machine does
falls on both. PyTorch runs with fused AdamW, flushed denormals and an allocator that keeps its pages. Never judges.

    python3 benches/peers/step_torch.py --ours "target/release/deps/micro-HASH --beside" step
"""

import argparse
import datetime
import json
import os
import platform
import shlex
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# An allocator that gives the logits' pages back at every step makes PyTorch 1.5 times slower: keep them.
KEEP = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(4 << 30)}
ITEMS, DIM, HEADS, BLOCKS, LENGTH = 12_000, 64, 2, 2, 50


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

    def finish(self):
        outcome = json.loads(self.line())
        self.process.wait()
        return outcome


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


def theirs(what, folder, count, dropout, compiled, dtype, threads):
    """PyTorch's side; the protocol of ours."""
    import resource

    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    weights = {name: torch.from_numpy(value) for name, value in tensors(Path(folder) / "model.safetensors").items()}
    batch = torch.tensor(json.loads((Path(folder) / "batch.json").read_text()))

    class SasRec(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(v) for name, v in weights.items()})
            # One product for query, key and value: the same weights, below each other.
            for block in range(BLOCKS):
                parts = [self.w.pop(f"blocks_{block}_attention_{part}") for part in ("query", "key", "value")]
                self.w[f"blocks_{block}_qkv"] = nn.Parameter(torch.cat([part.data for part in parts]))

        def norm(self, x, name):
            return F.layer_norm(x, (DIM,), self.w[f"{name}_gain"].view(-1), self.w[f"{name}_bias"].view(-1))

        def linear(self, x, name):
            bias = self.w.get(f"{name}_bias") if f"{name}_bias" in self.w else None
            return F.linear(x, self.w[name], None if bias is None else bias.view(-1))

        def drop(self, x):
            return F.dropout(x, dropout, self.training) if dropout else x

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
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            return F.cross_entropy(F.linear(model(ids).view(-1, DIM), model.w["item"]), target)

    def best_of(ids):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            scores = F.linear(model(ids)[:, -1], model.w["item"])
        return scores.float().topk(10)

    if compiled:
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

    work = step if what == "step" else answer
    model.train(what == "step")
    print("ready", flush=True)
    for _ in range(count):
        sys.stdin.readline()
        start = time.perf_counter()
        work()
        print(time.perf_counter() - start, flush=True)
    outcome = {"losses": losses} if found is None else {"scores": found[0].tolist(), "items": found[1].tolist()}
    outcome["peakBytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    outcome["torch"] = torch.__version__
    print(json.dumps(outcome), flush=True)


def in_turns(ours, theirs, warm, rounds):
    """All rounds, one of each side after the other; both sides' processor time in a round that counts, on average."""
    for at in range(warm + rounds):
        if at == warm:
            before = ours.processor(), theirs.processor()
        ours.work()
        theirs.work()
    return [(side.processor() - start) / rounds for side, start in zip((ours, theirs), before)]


def spread(seconds):
    return {"median": statistics.median(seconds), "fastest": min(seconds), "slowest": max(seconds)}


def compare(args, way):
    style, dtype = way.split("-")
    cores = {int(core) for core in args.cores.split(",")} if args.cores else None
    with tempfile.TemporaryDirectory() as folder:
        count = str(args.warm + args.rounds)
        side = args.what + ("-bf16" if args.precision == "bf16" else "")
        ours = Side([*shlex.split(args.ours), side, folder, count, str(args.dropout)], cores=cores).ready()
        mode = ["--theirs", folder, "--dtype", dtype, "--dropout", str(args.dropout), "--threads", str(args.threads)]
        mode += ["--compiled"] if style == "compiled" else []
        command, environment = [args.python, __file__, args.what, "--rounds", count, *mode], KEEP
        if style == "ours":
            # Our own other precision, which writes the same weights and batch once more.
            again = Path(folder) / "again"
            again.mkdir()
            what = args.what + ("-bf16" if dtype == "bf16" else "")
            command, environment = [*shlex.split(args.ours), what, str(again), count, str(args.dropout)], None
        other = Side(command, environment, cores).ready()
        for _ in range(int(count)):
            ours.work()
            other.work()
        us, them = ours.finish(), other.finish()
    mine, peer = spread(ours.seconds[args.warm :]), spread(other.seconds[args.warm :])
    peer_name = f"ours {dtype}" if style == "ours" else f"PyTorch {them['torch']} {dtype} {style}"
    row = {"peer": peer_name, "precision": args.precision, "ours": mine, "theirs": peer}
    row["ratio"] = peer["median"] / mine["median"]
    row["ratioOfFastest"] = peer["fastest"] / mine["fastest"]
    row["peakBytes"] = {"ours": us["peakBytes"], "theirs": them["peakBytes"]}
    if "losses" in us:
        row["largestLossDifference"] = max(abs(a - b) for a, b in zip(us["losses"], them["losses"]))
        row["lastLossDifference"] = abs(us["losses"][-1] - them["losses"][-1])
        row["losses"] = {"ours": [us["losses"][0], us["losses"][-1]], "theirs": [them["losses"][0], them["losses"][-1]]}
    elif "items" in us:
        shared = sum(len(set(a) & set(b)) for a, b in zip(us["items"], them["items"]))
        row["sharedOfTheBest"] = shared / sum(map(len, us["items"]))
        row["largestScoreDifference"] = max(
            abs(x - y) for a, b in zip(us["scores"], them["scores"]) for x, y in zip(a, b)
        )
    milliseconds = lambda side: " ".join(f"{1e3 * side[key]:8.1f}" for key in ("median", "fastest", "slowest"))
    print(f"{row['peer']:34}  ours {milliseconds(mine)} ms   theirs {milliseconds(peer)} ms   ratio {row['ratio']:.2f}"
          f"   MB {us['peakBytes'] >> 20} : {them['peakBytes'] >> 20}", flush=True)
    print("   ", {key: row[key] for key in row if key.startswith(("largest", "last", "losses", "shared"))}, flush=True)
    return row


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["step", "inference"])
    parser.add_argument("--ours", help="command of our side, up to and with --beside")
    parser.add_argument("--python", default=sys.executable, help="a Python with torch and numpy")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warm", type=int, default=3, help="rounds before those that count")
    parser.add_argument("--dropout", type=float, default=0.0, help="above 0 the losses differ: masks are not the same")
    parser.add_argument("--cores", default="", help="as 0,1: both sides run on these cores only")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ways", default="eager-f32,compiled-f32,eager-bf16,compiled-bf16",
                        help="PyTorch's, and ours-f32 or ours-bf16: our own side in that precision")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="of our side's training step")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--theirs", help=argparse.SUPPRESS)
    parser.add_argument("--dtype", default="f32", help=argparse.SUPPRESS)
    parser.add_argument("--compiled", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.theirs:
        return theirs(args.what, args.theirs, args.rounds, args.dropout, args.compiled, args.dtype, args.threads)
    if args.precision == "bf16" and args.what != "step":
        parser.error("only the training step has a precision")
    rows = [compare(args, way) for way in args.ways.split(",")]
    if args.out:
        load = os.getloadavg()
        report = {"what": args.what, "precision": args.precision, "dropout": args.dropout, "threads": args.threads, "rounds": args.rounds,
                  "date": datetime.date.today().isoformat(), "machine": platform.processor() or platform.machine(),
                  "loadAverage": load, "rows": rows}
        args.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
