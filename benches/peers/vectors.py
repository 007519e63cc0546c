"""Real vectors for `scan_peers.py`: a folder with `table.f32`, `queries.f32` and `about.json`.

In: what there is on disk. Out: rows of plain f32. `sasrec` takes the item table of a SASRec that `recmesh train` made and
what the model computes for users' histories, which is how a pool asks. `text` makes vectors from items' words: counts of
words and of letters in threes, weighed by rarity, through a random matrix of signs, of length one; `npy` takes rows that
somebody else computed. Of the last two every n-th row is a query, for its neighbours. Deterministic.

    python3 benches/peers/vectors.py OUT sasrec --model STORE/retrieval-models/NAME/HASH --data sequences.txt
    python3 benches/peers/vectors.py OUT text --items items.tsv --width 768
    python3 benches/peers/vectors.py OUT npy --rows vectors.npy
"""

import argparse
import json
import zlib
from pathlib import Path

import numpy as np

from turns import tensors


def sasrec(args):
    w = {name.replace(".", "_"): value for name, value in tensors(Path(args.model) / "model.safetensors").items()}
    table = next(w[name] for name in ("item", "items") if name in w)
    width, length = table.shape[1], len(w["position"])
    blocks = sum(name.endswith("attention_query") for name in w)

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
        return x * w[f"{name}_gain"].ravel() + w[f"{name}_bias"].ravel()

    def linear(x, name):
        bias = w.get(f"{name}_bias")
        return x @ w[name].T + (0 if bias is None else bias.ravel())

    def hidden(items):
        x = table[items] * width**0.5 + w["position"][: len(items)]
        for at in range(blocks):
            name = f"blocks_{at}"
            y = norm(x, f"{name}_attention_norm")
            q, key, value = (
                linear(y, f"{name}_attention_{part}").reshape(len(items), args.heads, -1).swapaxes(0, 1)
                for part in ("query", "key", "value")
            )
            scores = q @ key.swapaxes(1, 2) / q.shape[-1] ** 0.5
            scores[:, ~np.tri(len(items), dtype=bool)] = -np.inf
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            seen = (scores / scores.sum(-1, keepdims=True)) @ value
            x = x + linear(seen.swapaxes(0, 1).reshape(x.shape), f"{name}_attention_output")
            x = x + linear(np.maximum(linear(norm(x, f"{name}_ffn_norm"), f"{name}_ffn_up"), 0), f"{name}_ffn_down")
        return norm(x, "norm")[-1]

    # `recmesh` numbers items as they first appear.
    seen = {}
    users = [line.split()[1:] for line in open(args.data) if line.strip()]
    users = [[seen.setdefault(item, len(seen)) for item in user] for user in users]
    users = users[:: max(1, len(users) // args.queries)][: args.queries]
    queries = np.stack([hidden(np.array(user[:-1][-length:])) for user in users])
    return table, queries, f"SASRec of width {width}, {blocks} blocks: item table, and its hidden rows for users"


def text(args):
    lines = [line.rstrip("\n").split("\t")[-1] for line in open(args.items)][1:]
    seen, rows = {}, []
    for line in lines:
        words = line.lower().split()
        marks = words + [f"{word}_"[at : at + 3] for word in words for at in range(len(word) - 1)]
        rows.append([seen.setdefault(mark, len(seen)) for mark in marks])
    count = np.zeros(len(seen))
    for row in rows:
        count[list(set(row))] += 1
    rarity = np.log(len(rows) / count)
    random = np.random.default_rng(zlib.crc32(b"signs"))
    signs = random.integers(0, 2, (len(seen), args.width), dtype=np.int8) * 2.0 - 1.0
    out = np.zeros((len(rows), args.width), "<f4")
    for at, row in enumerate(rows):
        out[at] = rarity[row] @ signs[row]
    return *apart(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12), args.queries), (
        "words and threes of letters of items' phrases, weighed by rarity, projected by random signs"
    )


def npy(args):
    rows = np.load(args.rows).astype("<f4")
    return *apart(rows, args.queries), f"{Path(args.rows).name}"


def apart(rows, queries):
    """Every n-th row is a query and stays out of the table."""
    asked = np.arange(0, len(rows), len(rows) // queries)[:queries]
    return np.delete(rows, asked, 0), rows[asked]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("kind", choices=["sasrec", "text", "npy"])
    parser.add_argument("--model", help="the folder of a trained SASRec")
    parser.add_argument("--heads", type=int, default=1, help="of that SASRec")
    parser.add_argument("--data", help="lines `user item item …`, which that SASRec was trained on")
    parser.add_argument("--items", help="a table whose last column is a phrase, with a head")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--rows", help="an array of numpy")
    parser.add_argument("--queries", type=int, default=256)
    args = parser.parse_args()
    table, queries, about = {"sasrec": sasrec, "text": text, "npy": npy}[args.kind](args)
    args.out.mkdir(parents=True, exist_ok=True)
    for name, rows in (("table", table), ("queries", queries)):
        np.ascontiguousarray(rows, "<f4").tofile(args.out / f"{name}.f32")
    (args.out / "about.json").write_text(json.dumps({"about": about, "width": table.shape[1]}))
    print(f"{table.shape[0]} x {table.shape[1]}, {len(queries)} queries: {about}")


if __name__ == "__main__":
    main()
