#!/usr/bin/env python3
"""PyTorch and Triton on a CUDA device, beside the products and the searches that the GPU suite measures.

In: nothing; the suite runs this file with gpu_triton.py beside it. Out: one line of JSON on stdout, the last. Where torch
is not importable or sees no device it says so there and ends with 0. Never installs anything, estimates nothing.

A whole request is timed: three levels of the suite's own decoders (gpu-suite/decoders.rs) over one context, one row and
then all beams, as PyTorch does it best: beams and heads folded against the one key head, children looked up in a table,
everything in one graph when compiled. `python3 benches/peers/gpu_torch.py --check` runs the same code on the CPU over a
tiny decoder, eager and compiled, and compares it with plain loops over every path; it times nothing.
"""

import json
import sys
import time

SHAPES = {
    "1B": {"width": 1792, "head": 128, "inner": 5376, "layers": 18, "beams": 512, "context": 3000, "codes": 8192, "children": (8192, 16, 4)},
    "1.7B": {"width": 2304, "head": 128, "inner": 6912, "layers": 20, "beams": 256, "context": 1000, "codes": 8192, "children": (8192, 16, 4)},
}
TINY = {"width": 48, "head": 16, "inner": 80, "layers": 2, "beams": 7, "context": 9, "codes": 12, "children": (12, 3, 2)}


def milliseconds(torch, work, repeats=20):
    """The device's mean time of one round, after three that are not counted."""
    for _ in range(3):
        work()
    begun, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begun.record()
    for _ in range(repeats):
        work()
    ended.record()
    torch.cuda.synchronize()
    return begun.elapsed_time(ended) / repeats


class Decoder:
    """Weights that mean nothing, a trie with so many children a node at every level, one context."""

    def __init__(self, torch, shape, device, dtype):
        self.torch, self.shape, self.device = torch, shape, device
        width, inner, codes = shape["width"], shape["inner"], shape["codes"]

        def drawn(*sizes):
            return torch.randn(*sizes, device=device, dtype=dtype) / sizes[-1] ** 0.5

        self.gain = torch.ones(width, device=device, dtype=dtype)
        self.keys = drawn(shape["context"], shape["head"])
        self.layers = [
            {"square": [drawn(width, width) for _ in range(6)], "up": drawn(2 * inner, width), "down": drawn(width, inner)}
            for _ in range(shape["layers"])
        ]
        self.heads, self.inputs, self.trie, nodes = [], [], [], 1
        for children in shape["children"]:
            self.inputs.append(drawn(1 if nodes == 1 else codes, width) * width**0.5)
            self.heads.append(drawn(codes, width))
            # The codes of every node's children; -1 where a node has fewer.
            node, child = torch.arange(nodes, device=device)[:, None], torch.arange(children, device=device)
            self.trie.append(child * (codes // children) + node % (codes // children))
            nodes *= children

    def layer(self, x, layer, past):
        """Rows through one layer; `past` has keys and values of the levels so far, row by row, and gets this one's."""
        functional, width, head = self.torch.nn.functional, self.shape["width"], self.shape["head"]
        norm = lambda x: functional.rms_norm(x, (width,), self.gain, 1e-6)
        cross_q, cross_o, q, k, v, o = layer["square"]
        # Beams and heads folded against the one key head.
        queries = functional.linear(norm(x), cross_q).view(1, 1, -1, head)
        keys = self.keys.view(1, 1, -1, head)
        seen = functional.scaled_dot_product_attention(queries, keys, keys)
        x = x + functional.linear(seen.view(-1, width), cross_o)
        normed = norm(x)
        queries, key, value = (functional.linear(normed, part).view(-1, width // head, 1, head) for part in (q, k, v))
        keys, values = (self.torch.cat(parts, 2) if len(parts) > 1 else parts[0] for parts in zip(*past, (key, value)))
        seen = functional.scaled_dot_product_attention(queries, keys, values)
        x = x + functional.linear(seen.reshape(-1, width), o)
        left, right = functional.linear(norm(x), layer["up"]).chunk(2, -1)
        return x + functional.linear(functional.silu(left) * right, layer["down"]), (key, value)

    def search(self):
        """The leaves of the best paths and their log-probabilities, best first."""
        torch, functional, beams = self.torch, self.torch.nn.functional, self.shape["beams"]
        past = [[] for _ in self.layers]
        codes = nodes = torch.zeros(1, dtype=torch.long, device=self.device)
        scores = torch.zeros(1, device=self.device)
        for inputs, head, trie in zip(self.inputs, self.heads, self.trie):
            x = functional.embedding(codes, inputs)
            for layer, before in zip(self.layers, past):
                x, now = self.layer(x, layer, before)
                before.append(now)
            x = functional.rms_norm(x, (self.shape["width"],), self.gain, 1e-6)
            logits = functional.linear(x, head).float().log_softmax(-1)
            below, children = trie[nodes], trie.shape[1]
            offered = logits.gather(1, below.clamp(min=0)) + scores[:, None]
            offered = offered.masked_fill(below < 0, float("-inf")).flatten()
            scores, best = offered.topk(min(beams, offered.shape[0]))
            parents = best // children
            codes, nodes = below.flatten()[best].clamp(min=0), nodes[parents] * children + best % children
            past = [[(key[parents], value[parents]) for key, value in layer] for layer in past]
        return nodes, scores


def path_score(torch, decoder, path):
    """The log-probability of one path of codes, by plain loops: no beams, no folding, no attention of torch's."""
    shape, heads = decoder.shape, decoder.shape["width"] // decoder.shape["head"]
    norm = lambda x: x / (x.square().mean() + 1e-6).sqrt()
    past, total, before = [[] for _ in decoder.layers], 0.0, 0

    def attend(queries, keys, values):
        parts = []
        for head in range(heads):
            part = slice(head * shape["head"], (head + 1) * shape["head"])
            scores = torch.stack([queries[part] @ key(part) for key in keys]) / shape["head"] ** 0.5
            weights = scores.exp() / scores.exp().sum()
            parts.append(sum(weight * value(part) for weight, value in zip(weights, values)))
        return torch.cat(parts)

    for level, code in enumerate(path):
        x = decoder.inputs[level][before]
        for layer, seen in zip(decoder.layers, past):
            cross_q, cross_o, q, k, v, o = layer["square"]
            shared = [lambda _part, key=key: key for key in decoder.keys]
            x = x + cross_o @ attend(cross_q @ norm(x), shared, shared)
            normed = norm(x)
            seen.append((k @ normed, v @ normed))
            keys, values = ([lambda part, row=row: row[part] for row in rows] for rows in zip(*seen))
            x = x + o @ attend(q @ normed, keys, values)
            left, right = (layer["up"] @ norm(x)).chunk(2)
            x = x + layer["down"] @ (left / (1 + (-left).exp()) * right)
        logits = decoder.heads[level] @ norm(x)
        total, before = total + (logits[code] - logits.exp().sum().log()).item(), code
    return total


def check():
    """The search over a tiny decoder on the CPU against every path's own score."""
    import torch

    torch.manual_seed(1)
    for beams in (TINY["beams"], 72):
        decoder = Decoder(torch, TINY | {"beams": beams}, "cpu", torch.float64)
        # A node that has fewer children than the others.
        decoder.trie[1][5, 2] = -1
        paths = [()]
        for trie in decoder.trie:
            below = zip(paths, trie.tolist())
            paths = [None if path is None or code < 0 else path + (code,) for path, codes in below for code in codes]
        exact = {leaf: path_score(torch, decoder, path) for leaf, path in enumerate(paths) if path is not None}
        best = sorted(exact, key=exact.get, reverse=True)
        with torch.inference_mode():
            for how, search in (("eager", decoder.search), ("compiled", torch.compile(decoder.search, fullgraph=True))):
                leaves, scores = (found[:len(exact)].tolist() for found in search())
                off = max(abs(score - exact[leaf]) for leaf, score in zip(leaves, scores))
                print(f"{how}, {beams} beams: {len(leaves)} of {len(exact)} leaves, scores within {off:.1e}")
                assert off < 1e-5 and len(set(leaves)) == len(leaves) == min(beams, len(exact)), "a score of no path"
                # With room for every node nothing is lost on the way.
                assert beams < len(exact) or leaves == best, "another order than that of all paths"


def products(torch, shape, triton):
    """The products of a decoder's layer: PyTorch in bf16 and FP8, and Triton in both where it is importable."""
    rows, width, inner = shape["beams"], shape["width"], shape["inner"]
    for what, m, n, k in (("attention", rows, width, width), ("up", rows, 2 * inner, width), ("down", rows, width, inner)):
        a, b = (torch.randn(size, k, device="cuda", dtype=torch.bfloat16) for size in (m, n))
        a_scales, b_scales = ((x.abs().amax(1, keepdim=True).float() / 448) for x in (a, b))
        a8, b8 = ((x / scale).to(torch.float8_e4m3fn) for x, scale in ((a, a_scales), (b, b_scales)))
        exact = (a8.float() * a_scales) @ (b8.float() * b_scales).T
        scaled = lambda: torch._scaled_mm(a8, b8.T, a_scales, b_scales.T.contiguous(), out_dtype=torch.bfloat16)
        ways = {"torchBf16": lambda: torch.nn.functional.linear(a, b), "torchFp8": scaled}
        if triton:
            ways["tritonBf16"] = lambda: triton.product(a, b)
            ways["tritonFp8"] = lambda: triton.product(a8, b8, (a_scales, b_scales))
        row = {"what": what, "m": m, "n": n, "k": k}
        for name, way in ways.items():
            try:
                found = way().float()
                error = ((found - exact).norm() / exact.norm()).item()
                row[name] = {"ms": milliseconds(torch, way, 50), "relativeError": error}
            except Exception as problem:  # One way that this version cannot go must not hide the others.
                row[name] = {"notMeasured": f"{type(problem).__name__}: {problem}"}
        yield row


def main():
    try:
        import torch
    except ImportError:
        return {"notMeasured": "torch is not importable"}
    if not torch.cuda.is_available():
        return {"notMeasured": "torch sees no CUDA device"}
    found = {"torch": torch.__version__, "device": torch.cuda.get_device_name(), "requests": [], "products": [], "triton": None}
    matmul = None
    try:
        import triton

        import gpu_triton as matmul

        found["triton"] = triton.__version__
    except ImportError:
        pass
    with torch.inference_mode():
        for name, shape in SHAPES.items():
            decoder = Decoder(torch, shape, "cuda", torch.bfloat16)
            row = {"name": name, "beams": shape["beams"], "eagerMs": milliseconds(torch, decoder.search)}
            if found["triton"]:
                begun = time.monotonic()
                compiled = torch.compile(decoder.search, mode="max-autotune", fullgraph=True)
                row["compiledMs"] = milliseconds(torch, compiled)
                row["compileSeconds"] = round(time.monotonic() - begun, 1)
            found["requests"].append(row)
            del decoder
            found["products"] += [{"name": name} | row for row in products(torch, shape, matmul)]
    return found


if "--check" in sys.argv[1:]:
    check()
    sys.exit()
try:
    answer = main()
except Exception as error:  # A peer that fails must not take the suite's own figures with it.
    answer = {"notMeasured": f"{type(error).__name__}: {error}"}
print(json.dumps(answer))
