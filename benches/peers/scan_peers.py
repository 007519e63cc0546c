"""Ten best of a table by inner product: our two exact scans, faiss and usearch, exact and approximate, in turns.

In: our bench program (`micro`) and a folder of vectors that `vectors.py` made; without one, 25,000 uniform random vectors
of width 768, which are the worst case of an index: real vectors lie in groups. Out: for each peer the time of a query
beside our f32 scan and our scan over bytes, all medians with their spread, and the share of the exact ten that each finds;
for an index one row for each setting tried, and the seconds it took to build. Two threads on all sides. Never judges.

faiss decides by the number of queries whether to multiply with BLAS, and the wheel's threshold is 128,000 queries; below
it every query reads the whole table alone. `IndexFlatIP, BLAS` lowers the threshold to 1. The wheel's OpenBLAS (0.3.15)
takes some virtual machines with AVX-512 for a Prescott of 2004, so it is told what it runs on.

    pip install faiss-cpu==1.15.1 usearch==2.26.6 numpy==2.4.6
    python3 benches/peers/scan_peers.py --ours "target/release/deps/micro-HASH --beside" --vectors FOLDER
"""

import argparse
import datetime
import json
import os
import shlex
import tempfile
import time
from pathlib import Path

if " avx512bw " in Path("/proc/cpuinfo").read_text():
    os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX")

import faiss
import numpy as np
from usearch.index import Index, MetricKind, search

from turns import Side, spread

K = 10


def peers(table, queries, threads, widths, probes):
    """Name, work that gives the indices found, seconds to build."""
    rows, dim = table.shape
    faiss.omp_set_num_threads(threads)
    exact = faiss.IndexFlatIP(dim)
    exact.add(table)
    usual = faiss.cvar.distance_compute_blas_threshold

    def flat(threshold):
        faiss.cvar.distance_compute_blas_threshold = threshold
        return exact.search(queries, K)[1]

    yield f"faiss {faiss.__version__} IndexFlatIP", lambda: flat(usual), 0.0
    yield f"faiss {faiss.__version__} IndexFlatIP, BLAS", lambda: flat(1), 0.0
    plain = lambda: search(table, queries, K, MetricKind.IP, exact=True, threads=threads).keys
    yield "usearch exact", plain, 0.0

    def built(make):
        start = time.perf_counter()
        index = make()
        return index, time.perf_counter() - start

    def hierarchy():
        index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 128
        index.add(table)
        return index

    def graph():
        index = Index(ndim=dim, metric="ip", dtype="f32", connectivity=32, expansion_add=128)
        index.add(np.arange(rows), table, threads=threads)
        return index

    if not widths:
        return
    index, seconds = built(hierarchy)
    for width in widths:

        def near(width=width, index=index):
            index.hnsw.efSearch = width
            return index.search(queries, K)[1]

        yield f"faiss HNSW 32, efSearch {width}", near, seconds
    faiss.cvar.distance_compute_blas_threshold = 1
    quantiser = faiss.IndexFlatIP(dim)

    def lists():
        index = faiss.IndexIVFFlat(quantiser, dim, int(rows**0.5), faiss.METRIC_INNER_PRODUCT)
        index.train(table)
        index.add(table)
        return index

    index, seconds = built(lists)
    for probe in probes:

        def near(probe=probe, index=index):
            index.nprobe = probe
            return index.search(queries, K)[1]

        yield f"faiss IVF {int(rows ** 0.5)}, nprobe {probe}", near, seconds
    index, seconds = built(graph)
    for width in widths:

        def near(width=width, index=index):
            index.expansion_search = width
            return index.search(queries, K, threads=threads).keys

        yield f"usearch HNSW 32, search width {width}", near, seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True, help="command of our side, up to and with --beside")
    parser.add_argument("--vectors", type=Path, help="a folder that vectors.py made")
    parser.add_argument("--queries", type=int, default=0, help="how many of the folder's queries a round asks; 0: all")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--warm", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--widths", default="16,64,256,1024", help="of the search in a graph; empty: exact scans only")
    parser.add_argument("--probes", default="4,16,64")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    widths, probes = ([int(number) for number in numbers.split(",") if number] for numbers in (args.widths, args.probes))
    rows, total = [], args.warm + args.rounds
    with tempfile.TemporaryDirectory() as folder:
        folder, about = Path(folder), {"about": "uniform random", "width": 0}
        if args.vectors:
            about = json.loads((args.vectors / "about.json").read_text())
            for name in ("table", "queries"):
                numbers = np.fromfile(args.vectors / f"{name}.f32", "<f4").reshape(-1, about["width"])
                (numbers[: args.queries] if name == "queries" and args.queries else numbers).tofile(folder / f"{name}.f32")
        count = total * (3 + (2 * len(widths) + len(probes) if widths else 0))
        side = lambda name: Side([*shlex.split(args.ours), name, str(folder), str(count), str(about["width"])]).ready()
        ours = {"f32": side("scan"), "int8": side("scan-int8")}
        table, queries = (
            np.fromfile(folder / f"{name}.f32", "<f4").reshape(-1, about["width"] or 768) for name in ("table", "queries")
        )
        products = queries.astype(np.float64) @ table.T.astype(np.float64)
        best = np.argsort(-products, axis=1, kind="stable")[:, :K]
        # What scores as much as the tenth is as good: real tables hold equal rows.
        least = np.take_along_axis(products, best[:, -1:], 1) - 1e-5 * np.abs(products).max()
        recall = lambda found: float(np.mean(np.take_along_axis(products, np.maximum(found, 0), 1) >= least))
        for name, work, built in peers(table, queries, args.threads, widths, probes):
            seconds, before = [], len(ours["f32"].seconds)
            for _ in range(total):
                for side in ours.values():
                    side.work()
                start = time.perf_counter()
                found = work()
                seconds.append(time.perf_counter() - start)
            each = lambda taken: {key: value / len(queries) for key, value in spread(taken[args.warm :]).items()}
            row = {"peer": name, "ours": {kind: each(side.seconds[before:]) for kind, side in ours.items()}}
            row |= {"theirs": each(seconds), "buildSeconds": built, "recall": recall(np.asarray(found).astype(np.int64))}
            row["ratio"] = {kind: row["theirs"]["median"] / mine["median"] for kind, mine in row["ours"].items()}
            rows.append(row)
            text = lambda side: " ".join(f"{1e3 * side[key]:7.4f}" for key in ("median", "fastest", "slowest"))
            print(f"{name:36} f32 {text(row['ours']['f32'])}   int8 {text(row['ours']['int8'])}   theirs {text(row['theirs'])}"
                  f"   ratio {row['ratio']['f32']:6.2f} {row['ratio']['int8']:6.2f}   recall {row['recall']:.4f}"
                  f"   built in {built:.1f} s", flush=True)
        done = {kind: side.finish() for kind, side in ours.items()}
    ours_found = {kind: recall(np.array(outcome["items"])) for kind, outcome in done.items()}
    more = {"buildSeconds": done["int8"]["buildSeconds"], "exactProductsPerQuery": done["int8"]["exactProductsPerQuery"]}
    print(f"{table.shape[0]} x {table.shape[1]}, {len(queries)} queries a round; milliseconds a query: median, fastest,"
          f" slowest; our recall {ours_found}; bytes: {more}")
    if args.out:
        report = {"date": datetime.date.today().isoformat(), "vectors": about["about"], "rowsOfTable": len(table),
                  "width": table.shape[1], "queries": len(queries), "k": K, "threads": args.threads, "rounds": args.rounds,
                  "loadAverage": os.getloadavg(), "ourRecall": ours_found, "int8": more, "rows": rows}
        args.out.write_text(json.dumps(report, indent=2) + "\n")


main()
