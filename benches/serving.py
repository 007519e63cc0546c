#!/usr/bin/env python3
"""Latency and throughput of served pipelines, measured with wrk from a second process on loopback.

Starts `recmesh up` on each manifest (trains what the state folder lacks), checks one answer, then asks for the data
set's users in turn at 1, 8 and 64 connections. Prints p50, p99 and throughput with the split by stage, which it reads
from /metrics, and writes benches/results/serving.json.

    python3 benches/serving.py target/release/recmesh benches/manifests/serving-*.yaml

Needs wrk and taskset (Debian packages `wrk`, `util-linux`). A warm-up is not counted; every figure is from one run of
--seconds. A run with an error or a fallback is shown as such and makes the exit code 1.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("manifests", nargs="+")
parser.add_argument("--data", action="append", default=[], metavar="NAME=PATH", help="passed on to recmesh")
parser.add_argument("--state", default=str(ROOT / ".recmesh/serving"), help="state folder; what it holds is not trained again")
parser.add_argument("--seconds", type=int, default=10, help="length of a run")
parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 64])
parser.add_argument("--users", type=int, default=4000, help="asked are the users PREFIX0 … PREFIX(USERS-1)")
parser.add_argument("--user-prefix", default="u")
parser.add_argument("--first-user", type=int, default=0, help="number of the first user, where ids do not begin at 0")
parser.add_argument("-k", type=int, default=10, help="items a request")
parser.add_argument("--cpus", default="0,1", help="cores of the server; wrk takes the others where there are any")
parser.add_argument("--wait", type=int, default=1800, help="most seconds until a server is ready, training included")
parser.add_argument("--out", default=str(ROOT / "benches/results/serving.json"), help="`-` writes none")
args = parser.parse_args()

LUA = """
local n = 0
request = function()
  n = n + 1
  local body = '{"user":"%(prefix)s' .. tostring(%(first)d + (n * 7919) %% %(users)d) .. '","k":%(k)d}'
  return wrk.format("POST", "/v1/recommend", {["Content-Type"] = "application/json"}, body)
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %%d %%d %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max, latency.mean))
end
"""


def metrics(address):
    """Every sample of /metrics: (name, labels) to value."""
    text = urllib.request.urlopen(f"http://{address}/metrics", timeout=10).read().decode()
    samples = {}
    for line in text.splitlines():
        found = re.match(r"(\w+)(?:\{(.*)\})? (\S+)$", line)
        if found and not line.startswith("#"):
            labels = tuple(re.findall(r'(\w+)="([^"]*)"', found[2] or ""))
            samples[found[1], labels] = float(found[3])
    return samples


def means(before, after, metric, label):
    """Mean of a histogram between two readings, by the value of a label; empty ones are left out."""
    sums = {}
    for (name, labels), value in after.items():
        if name in (f"{metric}_sum", f"{metric}_count") and label in dict(labels):
            entry = sums.setdefault(dict(labels)[label], {})
            part = name.rsplit("_", 1)[1]
            entry[part] = entry.get(part, 0) + value - before.get((name, labels), 0)
    return {key: entry["sum"] / entry["count"] for key, entry in sums.items() if entry.get("count")}


def total(before, after, metric):
    return sum(value - before.get(key, 0) for key, value in after.items() if key[0] == metric)


def in_ms(seconds):
    return {key: round(1e3 * value, 4) for key, value in seconds.items()}


def wrk(address, connections, seconds, script):
    others = sorted(os.sched_getaffinity(0) - {int(core) for core in args.cpus.split(",")})
    pin = ["taskset", "-c", ",".join(map(str, others))] if others else []
    command = [*pin, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", script,
               f"http://{address}"]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"RESULT (.*)", done.stdout)
    if not found:
        raise SystemExit(f"wrk failed: {done.stdout}{done.stderr}")
    requests, duration, errors, p50, p90, p99, worst, mean = map(int, found[1].split())
    return {"connections": connections, "requests": requests, "requestsPerSecond": round(requests / (duration / 1e6), 1),
            "errors": errors, "meanMs": mean / 1e3, "p50Ms": p50 / 1e3, "p90Ms": p90 / 1e3, "p99Ms": p99 / 1e3, "maxMs": worst / 1e3}


def check(address, manifest):
    """One answer as a caller sees it: k items, no fallback."""
    body = json.dumps({"user": f"{args.user_prefix}{args.first_user}", "k": args.k}).encode()
    request = urllib.request.Request(f"http://{address}/v1/recommend", body, {"Content-Type": "application/json"})
    reply = json.load(urllib.request.urlopen(request, timeout=30))
    if len(reply["items"]) != args.k or reply["fallback"]:
        raise SystemExit(f"{manifest}: {len(reply['items'])} items, fallback {reply['fallback']}")
    return reply["release"]


def measure(address, connections, script):
    before = metrics(address)
    row = wrk(address, connections, args.seconds, script)
    after = metrics(address)
    stages = means(before, after, "recmesh_gateway_stage_seconds", "stage")
    row["stageMs"] = in_ms(stages)
    # Sockets, HTTP, the gateway, waiting for a core: what the caller saw beyond the stages. The server's own request
    # histogram will not do: it counts the requests that wrk abandons at its end.
    row["stageMs"]["outside"] = round(row["meanMs"] - sum(row["stageMs"].values()), 4)
    row["poolWaitMs"] = in_ms(means(before, after, "recmesh_pool_wait_seconds", "pool"))
    row["poolBatchComputeMs"] = in_ms(means(before, after, "recmesh_pool_compute_seconds", "pool"))
    row["poolBatch"] = {key: round(value, 2) for key, value in
                        means(before, after, "recmesh_pool_batch_requests", "pool").items()}
    row["fallbacks"] = int(total(before, after, "recmesh_gateway_fallbacks_total"))
    return row


def show(name, row):
    split = "  ".join(f"{stage} {ms:.3f}" for stage, ms in row["stageMs"].items())
    pools = "  ".join(f"{pool}: waits {row['poolWaitMs'].get(pool, 0):.3f}, batch of {size:.1f} takes "
                      f"{row['poolBatchComputeMs'].get(pool, 0):.3f}" for pool, size in row["poolBatch"].items())
    bad = f"  {row['errors']} errors, {row['fallbacks']} fallbacks" if row["errors"] or row["fallbacks"] else ""
    print(f"{name:28} {row['connections']:>4} {row['p50Ms']:>9.3f} {row['p99Ms']:>9.3f} {row['requestsPerSecond']:>9.1f}"
          f"   {split}{bad}\n{'':28} {'':>4} {pools}", flush=True)


def serve(manifest, script):
    """Rows of one manifest, and its release."""
    name, state = pathlib.Path(manifest).stem, pathlib.Path(args.state)
    state.mkdir(parents=True, exist_ok=True)
    # One that a killed server left would mislead.
    (state / "address").unlink(missing_ok=True)
    data = [word for pair in args.data for word in ("--data", pair)]
    command = ["taskset", "-c", args.cpus, args.program, "up", "-f", manifest, "--state", str(state),
               "--listen", "127.0.0.1:0", *data]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + args.wait
        while not (state / "address").exists():
            if server.poll() is not None:
                raise SystemExit(f"{manifest}: the server ended with {server.returncode}")
            if time.monotonic() > end:
                raise SystemExit(f"{manifest}: not ready after {args.wait} s")
            time.sleep(0.1)
        address = (state / "address").read_text().strip()
        release = check(address, manifest)
        wrk(address, 8, min(3, args.seconds), script)
        rows = []
        for connections in args.connections:
            rows.append({"manifest": name, **measure(address, connections, script)})
            show(name, rows[-1])
        return rows, release
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


print(f"{'manifest':28} {'conn':>4} {'p50 ms':>9} {'p99 ms':>9} {'req/s':>9}   mean ms by stage; by pool below", flush=True)
results, releases = [], {}
with tempfile.TemporaryDirectory() as scratch:
    script = pathlib.Path(scratch, "ask.lua")
    script.write_text(LUA % {"prefix": args.user_prefix, "first": args.first_user, "users": args.users, "k": args.k})
    for manifest in args.manifests:
        rows, releases[pathlib.Path(manifest).stem] = serve(manifest, script)
        results += rows

cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), platform.machine())
report = {"date": datetime.date.today().isoformat(),
          "hardware": f"{cpu}, {os.cpu_count()} cores, server on {args.cpus}",
          "version": f"{output(args.program, '--version')}, {output('git', 'describe', '--always', '--dirty')}",
          "secondsPerRun": args.seconds, "itemsPerRequest": args.k, "releases": releases, "results": results}
if args.out != "-":
    pathlib.Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(args.out).write_text(json.dumps(report, indent=1) + "\n")
sys.exit(any(row["errors"] or row["fallbacks"] for row in results))
