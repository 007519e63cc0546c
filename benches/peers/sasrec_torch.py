"""PyTorch twin of our SASRec: same data split, same architecture, same loss, same metric.

Prints one JSON object with ndcg@10 and recall@10 (test, masked and raw), seconds of wall and processor time, and peak
memory. Needs torch and numpy. Run beside ours:

    python3 benches/peers/sasrec_torch.py --data sequences.txt --epochs 22
"""

import argparse
import json
import os
import resource
import sys
import time

# An allocator that gives the logits' pages back at every step makes PyTorch 1.5 times slower: keep them.
if os.environ.get("MALLOC_TRIM_THRESHOLD_") is None:
    os.environ["MALLOC_MMAP_THRESHOLD_"] = os.environ["MALLOC_TRIM_THRESHOLD_"] = str(4 << 30)
    os.execv(sys.executable, [sys.executable, *sys.argv])

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True, help="lines `user item item …`, oldest first")
parser.add_argument("--epochs", type=int, default=22)
parser.add_argument("--dim", type=int, default=64)
parser.add_argument("--blocks", type=int, default=2)
parser.add_argument("--heads", type=int, default=1)
parser.add_argument("--length", type=int, default=50)
parser.add_argument("--dropout", type=float, default=0.5)
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--negatives", type=int, default=0, help="0: softmax over all items")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--patience", type=int, default=5)
args = parser.parse_args()

torch.manual_seed(args.seed)
torch.set_num_threads(args.threads)
torch.set_flush_denormal(True)
users = [[int(x) for x in line.split()[1:]] for line in open(args.data) if line.strip()]
items = 1 + max(max(u) for u in users)  # 0 is padding
rng = np.random.default_rng(args.seed)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(args.dim), nn.LayerNorm(args.dim)
        self.qkv = nn.Linear(args.dim, 3 * args.dim)
        self.out = nn.Linear(args.dim, args.dim)
        self.up, self.down = nn.Linear(args.dim, args.dim), nn.Linear(args.dim, args.dim)
        self.drop = nn.Dropout(args.dropout)

    def forward(self, x, mask):
        b, n, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).chunk(3, -1)
        split = lambda t: t.view(b, n, args.heads, d // args.heads).transpose(1, 2)
        a = F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=mask)
        x = x + self.drop(self.out(a.transpose(1, 2).reshape(b, n, d)))
        return x + self.drop(self.down(F.relu(self.up(self.norm2(x)))))


class SasRec(nn.Module):
    def __init__(self):
        super().__init__()
        self.item = nn.Embedding(items, args.dim)
        self.position = nn.Embedding(args.length, args.dim)
        nn.init.normal_(self.item.weight, std=0.02)
        nn.init.normal_(self.position.weight, std=0.02)
        self.blocks = nn.ModuleList(Block() for _ in range(args.blocks))
        self.norm = nn.LayerNorm(args.dim)
        self.drop = nn.Dropout(args.dropout)

    def forward(self, ids):  # left-aligned, zero-padded
        n = ids.shape[1]
        x = self.drop(self.item(ids) * args.dim**0.5 + self.position.weight[:n])
        causal = torch.ones(n, n, dtype=torch.bool).tril()[None, None]
        for block in self.blocks:
            x = block(x, causal)
        return self.norm(x)


def pad(rows, width):
    out = np.zeros((len(rows), width), dtype=np.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return torch.from_numpy(out)


def evaluate(model, rows, masked=True):
    model.eval()
    ndcg = recall = 0.0
    with torch.no_grad():
        for start in range(0, len(rows), 512):
            part = rows[start : start + 512]
            hist = [r[:-1][-args.length :] for r in part]
            x = model(pad(hist, max(len(h) for h in hist)))
            last = x[torch.arange(len(part)), torch.tensor([len(h) - 1 for h in hist])]
            scores = last @ model.item.weight.T
            scores[:, 0] = -torch.inf
            target = torch.tensor([r[-1] for r in part])
            own = scores[torch.arange(len(part)), target].clone()
            if masked:
                for i, r in enumerate(part):
                    scores[i, r[:-1]] = -torch.inf
                scores[torch.arange(len(part)), target] = own
            rank = (scores > own[:, None]).sum(1)
            hit = rank < 10
            recall += hit.sum().item()
            ndcg += (hit / torch.log2(rank.float() + 2)).sum().item()
    return ndcg / len(rows), recall / len(rows)


train = [u[:-2][-(args.length + 1) :] for u in users if len(u) >= 3]
train = [t for t in train if len(t) >= 2]
valid = [u[:-1] for u in users if len(u) >= 3]
test = [u for u in users if len(u) >= 3]
model = SasRec()
optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.0, fused=True)
wall, cpu, best, bad, epochs = time.time(), time.process_time(), (-1.0, None), 0, 0
train_seconds = 0.0
for epoch in range(args.epochs):
    model.train()
    started = time.time()
    order = rng.permutation(len(train))
    for start in range(0, len(order), args.batch):
        rows = [train[i] for i in order[start : start + args.batch]]
        width = max(len(r) for r in rows) - 1
        ids, target = pad([r[:-1] for r in rows], width), pad([r[1:] for r in rows], width)
        live = target > 0
        x, target = model(ids)[live], target[live]
        if args.negatives:
            negatives = torch.from_numpy(rng.integers(1, items, args.negatives))
            logits = x @ model.item.weight[negatives].T
            logits = logits.masked_fill(negatives[None] == target[:, None], -torch.inf)
            own = (x * model.item.weight[target]).sum(-1, keepdim=True)
            loss = F.cross_entropy(torch.cat([own, logits], 1), torch.zeros(len(x), dtype=torch.long))
        else:
            loss = F.cross_entropy(x @ model.item.weight.T, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    train_seconds += time.time() - started
    epochs += 1
    metric = evaluate(model, valid)[0]
    if metric > best[0]:
        best, bad = (metric, {k: v.clone() for k, v in model.state_dict().items()}), 0
    else:
        bad += 1
        if bad >= args.patience:
            break
model.load_state_dict(best[1])
masked, raw = evaluate(model, test), evaluate(model, test, masked=False)
print(json.dumps({
    "peer": f"pytorch {torch.__version__}", "threads": args.threads, "epochs": epochs, "negatives": args.negatives,
    "ndcg@10": {"masked": masked[0], "raw": raw[0]}, "recall@10": {"masked": masked[1], "raw": raw[1]},
    "validationNdcg@10": best[0], "wallSeconds": time.time() - wall, "cpuSeconds": time.process_time() - cpu,
    "trainSecondsPerEpoch": train_seconds / epochs, "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}))
