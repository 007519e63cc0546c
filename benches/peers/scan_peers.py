"""Ten best of 25,000 vectors of width 768 by inner product: our exact scan, faiss and usearch, in turns on two threads.

In: our bench program (`micro`), which writes table and queries to a folder. Out: for each peer the time of a query beside
ours, both medians with their spread, and the share of the exact ten that it finds; for the graph index one row for each
width of its search, and the seconds it took to build. Never judges. Vectors are uniform at random, which is the worst
case of a graph index: real vectors lie in groups.

    pip install faiss-cpu==1.15.1 usearch==2.26.6 numpy==2.4.6
    python3 benches/peers/scan_peers.py --ours "target/release/deps/micro-HASH --beside"
"""

import argparse
import json
import os
import shlex
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
from usearch.index import Index, MetricKind, search

from step_torch import Side, spread

WIDTH, K = 768, 10


def peers(table, queries, threads, widths):
    """Name, work that gives the indices found, seconds to build."""
    faiss.omp_set_num_threads(threads)
    exact = faiss.IndexFlatIP(WIDTH)
    exact.add(table)
    yield f"faiss {faiss.__version__} IndexFlatIP", lambda: exact.search(queries, K)[1], 0.0
    plain = lambda: search(table, queries, K, MetricKind.IP, exact=True, threads=threads).keys
    yield "usearch exact", plain, 0.0
    graph = Index(ndim=WIDTH, metric="ip", dtype="f32", connectivity=16, expansion_add=128)
    start = time.perf_counter()
    graph.add(np.arange(len(table)), table, threads=threads)
    built = time.perf_counter() - start
    for width in widths:

        def near(width=width):
            graph.expansion_search = width
            return graph.search(queries, K, threads=threads).keys

        yield f"usearch HNSW f32, search width {width}", near, built


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True, help="command of our side, up to and with --beside")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--widths", default="128,512,2048")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    widths = [int(width) for width in args.widths.split(",")]
    rows, total = [], args.warm + args.rounds
    with tempfile.TemporaryDirectory() as folder:
        count = total * (2 + len(widths))
        ours = Side([*shlex.split(args.ours), "scan", folder, str(count), "0"]).ready()
        table, queries = (
            np.fromfile(Path(folder) / f"{name}.f32", "<f4").reshape(-1, WIDTH) for name in ("table", "queries")
        )
        products = queries.astype(np.float64) @ table.T.astype(np.float64)
        best = np.argsort(-products, axis=1, kind="stable")[:, :K]
        recall = lambda found: float(np.mean([len(set(a) & set(b)) / K for a, b in zip(found, best.tolist())]))
        for name, work, built in peers(table, queries, args.threads, widths):
            seconds, before = [], len(ours.seconds)
            for _ in range(total):
                ours.work()
                start = time.perf_counter()
                found = work()
                seconds.append(time.perf_counter() - start)
            each = lambda taken: {key: value / len(queries) for key, value in spread(taken[args.warm :]).items()}
            row = {"peer": name, "ours": each(ours.seconds[before:]), "theirs": each(seconds), "buildSeconds": built}
            row["recall"] = recall(np.asarray(found).tolist())
            row["ratio"] = row["theirs"]["median"] / row["ours"]["median"]
            rows.append(row)
        ours_found = recall(ours.finish()["items"])
    print(f"our recall {ours_found:.4f}; milliseconds a query: median, fastest, slowest")
    for row in rows:
        text = lambda side: " ".join(f"{1e3 * row[side][key]:7.3f}" for key in ("median", "fastest", "slowest"))
        print(f"{row['peer']:36} ours {text('ours')}   theirs {text('theirs')}   ratio {row['ratio']:6.2f}"
              f"   recall {row['recall']:.4f}   built in {row['buildSeconds']:.1f} s")
    if args.out:
        report = {"vectors": len(table), "width": WIDTH, "queries": len(queries), "k": K, "threads": args.threads,
                  "loadAverage": os.getloadavg(), "ourRecall": ours_found, "rows": rows}
        args.out.write_text(json.dumps(report, indent=2) + "\n")


main()
