#!/usr/bin/env python3
"""Quality of the models on real data: writes the manifests of a suite, runs `recmesh train -o json`, prints a table.

    python3 benches/quality.py --data "$RECMESH_DATA" floors sasrec lazy muon precision census
    python3 benches/quality.py --data "$RECMESH_DATA" --peer /path/to/python-with-torch sasrec

Every suite writes benches/results/<suite>.json with the date, the hardware, each run's parameters, metrics with their
intervals, wall and processor time and peak memory. `--peer` also runs the PyTorch twin of SASRec on the same data.
"""

import argparse
import datetime
import json
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("suites", nargs="+")
parser.add_argument("--data", required=True, help="folder with amazon-sports, yelp, lastfm, census-income, …")
parser.add_argument("--program", default=str(ROOT / "target/release/recmesh"))
parser.add_argument("--state", default=str(ROOT / ".recmesh/quality"))
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--peer", help="a python that has torch and numpy")
parser.add_argument("--only", help="only runs whose name contains this")
args = parser.parse_args()
API = "recmesh.dev/v1alpha1"


def resource(kind, name, **spec):
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def sequences(name, folder):
    source = {"interactions": {"path": f"{folder}/sequences.txt", "format": {"sequences": {}}}}
    return resource("Dataset", name, source=source)


def evaluation(model, kind="RetrievalModel", **more):
    return resource("EvaluationJob", f"eval-{model}", modelRef={"kind": kind, "name": model}, k=[10], **more)


def training(model, kind="RetrievalModel", **params):
    return resource("TrainingJob", f"train-{model}", modelRef={"kind": kind, "name": model}, **params)


def retrieval(name, dataset, algorithm, tokenizer=None):
    spec = {"datasetRef": {"name": dataset}, "algorithm": algorithm}
    if tokenizer:
        spec["tokenizerRef"] = {"name": tokenizer}
    return resource("RetrievalModel", name, **spec)


SASREC = {"dim": 64, "blocks": 2, "heads": 1, "ffn": 1, "maxLength": 50, "dropout": 0.5}
ADAM = {"adamW": {"lr": 1e-3}}
BASE = {"optimizer": ADAM, "epochs": 60, "batchSize": 128, "earlyStopping": {"patience": 5}, "seed": 0}


def floors():
    for dataset in ("amazon-sports", "yelp", "lastfm"):
        models = {"popularity": {"popularity": {}}, "item-knn": {"itemKnn": {"neighbours": 0}}, "transitions": {"transitions": {}}}
        docs = [sequences(dataset, dataset)]
        for name, algorithm in models.items():
            docs += [retrieval(f"{name}-{dataset}", dataset, algorithm), evaluation(f"{name}-{dataset}")]
        yield f"floors-{dataset}", docs


def sasrec():
    variants = {
        "full": {**SASREC, "loss": {"full": {}}},
        "sampled": {**SASREC, "loss": {"sampled": {"negatives": 2048}}},
    }
    for dataset in ("amazon-sports", "yelp", "lastfm"):
        for name, params in variants.items():
            model = f"sasrec-{name}-{dataset}"
            control = {"shuffledControl": True} if name == "full" else {}
            yield model, [sequences(dataset, dataset), retrieval(model, dataset, {"sasRec": params}),
                          training(model, **BASE), evaluation(model, **control)]
    wide = {**SASREC, "dim": 256, "loss": {"full": {}}}
    yield "sasrec-wide-amazon-sports", [
        sequences("amazon-sports", "amazon-sports"), retrieval("sasrec-wide-amazon-sports", "amazon-sports", {"sasRec": wide}),
        training("sasrec-wide-amazon-sports", **BASE), evaluation("sasrec-wide-amazon-sports")]


LAZY = {"dModel": 64, "layers": 2, "heads": 4, "kvGroups": 4, "kvLayers": 2, "kvSplit": 2, "ffn": 4, "contextLength": 50,
        "contextLayers": 2, "dropout": 0.3, "decode": {"beams": 50}}


def lazy():
    dataset = "amazon-sports"
    full = {**SASREC, "loss": {"full": {}}}
    teacher = [retrieval("sasrec-full-amazon-sports", dataset, {"sasRec": full}),
               training("sasrec-full-amazon-sports", **BASE)]
    collaborative = {"collaborative": {"dims": 64}}
    learnt = {"model": {"modelRef": {"name": "sasrec-full-amazon-sports"}}}
    sweep = {
        "published": ({**LAZY, "contextLayers": 0, "itemEmbedding": False}, collaborative, 256),
        "context0": ({**LAZY, "contextLayers": 0}, collaborative, 256),
        "context2": (LAZY, collaborative, 256),
        "context2-learnt": (LAZY, learnt, 256),
        "context2-learnt-64": (LAZY, learnt, 64),
        "context2-learnt-1024": (LAZY, learnt, 1024),
        "context2-learnt-wide": ({**LAZY, "dModel": 128}, learnt, 256),
        "context2-learnt-short": ({**LAZY, "contextLength": 20}, learnt, 256),
    }
    for name, (params, vectors, codes) in sweep.items():
        ids = f"ids-{name}"
        algorithm = {"rqKMeans": {"levels": 3, "codebookSize": codes, "vectors": vectors}}
        model = f"lazy-{name}-{dataset}"
        docs = [sequences(dataset, dataset)]
        docs += teacher if vectors is learnt else []
        docs += [resource("Tokenizer", ids, datasetRef={"name": dataset}, algorithm=algorithm),
                 retrieval(model, dataset, {"lazyDecoder": params}, ids),
                 training(model, **BASE), evaluation(model, shuffledControl=True)]
        yield model, docs


def muon():
    dataset = "lastfm"
    rates = {"adamw": [3e-4, 1e-3, 3e-3, 1e-2], "muon": [3e-3, 1e-2, 2e-2, 5e-2]}
    for optimizer, grid in rates.items():
        for rate in grid:
            for seed in (0, 1, 2):
                name = f"{optimizer}-{rate:g}-{seed}".replace(".", "p").replace("-0p", "-0p")
                spec = {"adamW": {"lr": rate}} if optimizer == "adamw" else {
                    "muon": {"lr": rate, "adam": {"lr": 1e-3}}}
                params = {**BASE, "optimizer": spec, "seed": seed, "epochs": 150, "earlyStopping": {"patience": 20}}
                yield f"muon-{name}", [
                    sequences(dataset, dataset),
                    retrieval(name, dataset, {"sasRec": {**SASREC, "loss": {"full": {}}}}),
                    training(name, **params), evaluation(name)]


def precision():
    dataset = "lastfm"
    for seed in (0, 1, 2):
        for kind in ("f32", "bf16"):
            # 14 steps an epoch: the loss of the epoch that ends with step 98, and quality after all.
            for length, epochs in (("early", 7), ("whole", 60)):
                name = f"{kind}-{seed}-{length}"
                stopping = {"patience": 0, "every": min(5, epochs)}
                params = {**BASE, "precision": kind, "seed": seed, "epochs": epochs, "earlyStopping": stopping}
                yield f"precision-{name}", [
                    sequences(dataset, dataset),
                    retrieval(name, dataset, {"sasRec": {**SASREC, "loss": {"full": {}}}}),
                    training(name, **params), evaluation(name)]


def census():
    text = (ROOT / "examples/census-income.yaml").read_text()
    yield "census-income", text


SUITES = {f.__name__: f for f in (floors, sasrec, lazy, muon, precision, census)}


def run(name, docs):
    text = docs if isinstance(docs, str) else "\n---\n".join(json.dumps(doc) for doc in docs)
    folder = pathlib.Path(args.state)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / f"{name}.yaml"
    manifest.write_text(text)
    datasets = ["census"] if isinstance(docs, str) else [d["metadata"]["name"] for d in docs if d["kind"] == "Dataset"]
    data = []
    for dataset in datasets:
        data += ["--data", f"{dataset}={args.data if dataset != 'census' else args.data + '/census-income'}"]
    command = [args.program, "train", "-f", str(manifest), "-o", "json", "--state", str(folder / "state"),
               "--threads", str(args.threads), *data]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if not done.stdout:
        raise SystemExit(f"{name}: no results (exit {done.returncode})")
    return {"name": name, "manifest": text if isinstance(docs, str) else docs, "jobs": json.loads(done.stdout)["jobs"]}


def peer(dataset, *more):
    command = [args.peer, str(ROOT / "benches/peers/sasrec_torch.py"), "--data", f"{args.data}/{dataset}/sequences.txt",
               "--epochs", "60", "--threads", str(args.threads), *more]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), platform.machine())
for suite in args.suites:
    out = ROOT / f"benches/results/{suite}.json"
    report = {"date": datetime.date.today().isoformat(), "hardware": f"{cpu}, {args.threads} threads", "runs": []}
    for name, docs in SUITES[suite]():
        if args.only and args.only not in name:
            continue
        result = run(name, docs)
        report["runs"].append(result)
        for job in result["jobs"]:
            used = job["resources"]
            for metric in job["metrics"] if job["kind"] == "EvaluationJob" else []:
                spread = "" if not metric.get("interval") else " [{:.4f}, {:.4f}]".format(*metric["interval"])
                what = " ".join(filter(None, [metric["name"], metric.get("of"), metric.get("masking")]))
                print(f"{job['name']:40} {what:28} {metric['value']:.4f}{spread}", flush=True)
            if job["kind"] != "EvaluationJob" and job["state"] == "complete":
                print(f"{job['name']:40} {used['wallSeconds']:.1f} s, {used['cpuSeconds']:.1f} s of processor time, "
                      f"{used['peakBytes'] >> 20} MiB", flush=True)
    if suite == "sasrec" and args.peer:
        report["peers"] = {}
        for dataset in ("amazon-sports", "lastfm"):
            for name, more in (("full", []), ("sampled", ["--negatives", "2048"])):
                report["peers"][f"{dataset}-{name}"] = peer(dataset, *more)
                print(dataset, name, json.dumps(report["peers"][f"{dataset}-{name}"]), flush=True)
    if not args.only:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=1) + "\n")
