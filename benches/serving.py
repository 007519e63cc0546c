#!/usr/bin/env python3
"""Latency and throughput of a served pipeline, measured with wrk from a second process on loopback.

Starts `recmesh up` on each manifest, asks for known users at 1, 8 and 64 connections, and reads the per-stage split
from /metrics. Prints a table and writes benches/results/serving.json.

    python3 benches/serving.py target/release/recmesh --data ml=…/ml-100k benches/manifests/serving-*.yaml

Needs wrk (Debian package `wrk`). Warm-up runs are not counted; every figure is from one run of --seconds.
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
import tempfile
import time
import urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("program")
parser.add_argument("manifests", nargs="+")
parser.add_argument("--data", action="append", default=[], help="NAME=PATH, passed on")
parser.add_argument("--state", default=None, help="state folder, kept; a new one without it")
parser.add_argument("--seconds", type=int, default=10)
parser.add_argument("--users", type=int, default=900, help="users are the ids 1..USERS, or u0..u(USERS-1)")
parser.add_argument("--user-prefix", default="")
parser.add_argument("--cpus", default="0,1", help="cores of the server; wrk takes the others where there are any")
parser.add_argument("--out", default="benches/results/serving.json")
args = parser.parse_args()

LUA = """
local n = 0
request = function()
  n = n + 1
  local user = "%s" .. tostring(1 + (n * 7919) %% %d)
  return wrk.format("POST", "/v1/recommend", {["Content-Type"] = "application/json"}, '{"user":"' .. user .. '","k":10}')
end
done = function(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
"""


def stage_sums(address):
    text = urllib.request.urlopen(f"http://{address}/metrics").read().decode()
    sums = {}
    for line in text.splitlines():
        found = re.match(r'(\w*stage\w*)_(sum|count)\{([^}]*)\} ([0-9.eE+-]+)', line)
        if found:
            stage = re.search(r'stage="([^"]*)"', found[3])
            if stage:
                entry = sums.setdefault(stage[1], {"sum": 0.0, "count": 0.0})
                entry[found[2]] += float(found[4])
    return sums


def wrk(address, connections, seconds, script):
    others = sorted(set(range(os.cpu_count())) - {int(c) for c in args.cpus.split(",")})
    pin = ["taskset", "-c", ",".join(map(str, others))] if others else []
    command = [*pin, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script, f"http://{address}"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    requests, duration, errors, p50, p90, p99, worst = map(int, re.search(r"RESULT (.*)", out)[1].split())
    return {"connections": connections, "requestsPerSecond": requests / (duration / 1e6), "errors": errors,
            "p50Ms": p50 / 1e3, "p90Ms": p90 / 1e3, "p99Ms": p99 / 1e3, "maxMs": worst / 1e3}


results = []
with tempfile.TemporaryDirectory() as scratch:
    script = pathlib.Path(scratch, "ask.lua")
    script.write_text(LUA % (args.user_prefix, args.users))
    for manifest in args.manifests:
        state = pathlib.Path(args.state or scratch, pathlib.Path(manifest).stem if args.state is None else "")
        data = [word for pair in args.data for word in ("--data", pair)]
        server = subprocess.Popen(["taskset", "-c", args.cpus, args.program, "up", "-f", manifest, "--state", str(state),
                                   "--listen", "127.0.0.1:0", *data], stdout=subprocess.DEVNULL)
        try:
            address_file = state / "address"
            while not address_file.exists():
                if server.poll() is not None:
                    raise SystemExit(f"{manifest}: the server ended with {server.returncode}")
                time.sleep(0.2)
            address = address_file.read_text().strip()
            wrk(address, 8, 3, script)
            for connections in (1, 8, 64):
                before = stage_sums(address)
                row = wrk(address, connections, args.seconds, script)
                after = stage_sums(address)
                row["stageMs"] = {
                    stage: 1e3 * (now["sum"] - before.get(stage, {}).get("sum", 0))
                    / max(1, now["count"] - before.get(stage, {}).get("count", 0)) for stage, now in after.items()}
                results.append({"manifest": pathlib.Path(manifest).name, **row})
                print(json.dumps(results[-1]))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(20)

cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), platform.machine())
report = {"date": datetime.date.today().isoformat(), "hardware": f"{cpu}, server on cores {args.cpus}",
          "secondsPerRun": args.seconds, "results": results}
pathlib.Path(args.out).parent.mkdir(parents=True, exist_ok=True)
pathlib.Path(args.out).write_text(json.dumps(report, indent=1) + "\n")
