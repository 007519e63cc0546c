#!/usr/bin/env python3
"""PyTorch and Triton on a CUDA device, beside the products and the layers that the GPU suite measures.

In: nothing; the suite runs this file with gpu_triton.py beside it. Out: one line of JSON on stdout, the last. Where torch
is not importable or sees no device it says so there and ends with 0. Never installs anything, estimates nothing.
"""

import json
import time

SHAPES = {
    "1B": {"width": 1792, "inner": 5376, "layers": 18, "beams": 512, "context": 3000},
    "1.7B": {"width": 2304, "inner": 6912, "layers": 20, "beams": 256, "context": 1000},
}


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


def step(torch, shape):
    """One level of a lazy decoder in bf16: the layers over all beams, own attention to one position."""
    functional, width, heads = torch.nn.functional, shape["width"], shape["width"] // 128

    def weight(*sizes):
        return torch.randn(*sizes, device="cuda", dtype=torch.bfloat16) / sizes[-1] ** 0.5

    layers = [
        {
            "gain": torch.ones(width, device="cuda", dtype=torch.bfloat16),
            "square": [weight(width, width) for _ in range(6)],
            "up": weight(2 * shape["inner"], width),
            "down": weight(width, shape["inner"]),
            "keys": weight(1, 1, shape["context"], 128),
        }
        for _ in range(shape["layers"])
    ]

    def run(x):
        for layer in layers:
            cross_q, cross_o, q, k, v, o = layer["square"]
            normed = functional.rms_norm(x, (width,), layer["gain"])
            # Beams and heads folded against the one key head.
            queries = functional.linear(normed, cross_q).view(1, 1, -1, 128)
            seen = functional.scaled_dot_product_attention(queries, layer["keys"], layer["keys"])
            x = x + functional.linear(seen.view(-1, width), cross_o)
            normed = functional.rms_norm(x, (width,), layer["gain"])
            own = [functional.linear(normed, part).view(-1, heads, 1, 128) for part in (q, k, v)]
            x = x + functional.linear(functional.scaled_dot_product_attention(*own).reshape(-1, width), o)
            left, right = functional.linear(functional.rms_norm(x, (width,), layer["gain"]), layer["up"]).chunk(2, -1)
            x = x + functional.linear(functional.silu(left) * right, layer["down"])
        return x

    return run


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
    found = {"torch": torch.__version__, "device": torch.cuda.get_device_name(), "steps": [], "products": [], "triton": None}
    matmul = None
    try:
        import triton

        import gpu_triton as matmul

        found["triton"] = triton.__version__
    except ImportError:
        pass
    with torch.inference_mode():
        for name, shape in SHAPES.items():
            x = torch.randn(shape["beams"], shape["width"], device="cuda", dtype=torch.bfloat16)
            run = step(torch, shape)
            row = {"name": name, "rows": shape["beams"], "eagerMs": milliseconds(torch, lambda: run(x))}
            if found["triton"]:
                begun = time.monotonic()
                compiled = torch.compile(run, mode="max-autotune")
                row["compiledMs"] = milliseconds(torch, lambda: compiled(x))
                row["compileSeconds"] = round(time.monotonic() - begun, 1)
            found["steps"].append(row)
            found["products"] += [{"name": name} | row for row in products(torch, shape, matmul)]
    return found


try:
    answer = main()
except Exception as error:  # A peer that fails must not take the suite's own figures with it.
    answer = {"notMeasured": f"{type(error).__name__}: {error}"}
print(json.dumps(answer))
