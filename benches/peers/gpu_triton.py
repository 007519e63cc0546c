"""A matrix product in Triton: E4M3 with a scale a row of either side, and bf16. A peer of the GPU suite.

In: tensors on a device. Out: `a · bᵀ` in bf16, sums in f32. `python3 benches/peers/gpu_triton.py` checks it on Triton's
interpreter, which needs no device, against torch; it never times anything there.
"""

import os

if __name__ == "__main__":
    os.environ["TRITON_INTERPRET"] = "1"

import torch
import triton
import triton.language as tl

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def ways():
    """Tilings to choose among by measurement; one where nothing can be measured."""
    if INTERPRETED:
        return [triton.Config({"ROWS": 16, "COLS": 32, "DEPTH": 32, "GROUP": 2})]
    return [
        triton.Config({"ROWS": rows, "COLS": cols, "DEPTH": depth, "GROUP": 8}, num_warps=warps, num_stages=stages)
        for rows, cols, warps in ((128, 256, 8), (128, 128, 8), (128, 128, 4), (64, 256, 4), (64, 128, 4), (64, 64, 4))
        for depth, stages in ((128, 3), (64, 4))
    ]


@triton.autotune(configs=ways(), key=["m", "n", "k"])
@triton.jit
def multiply(a, b, a_scales, b_scales, out, m, n, k, SCALED: tl.constexpr,
             ROWS: tl.constexpr, COLS: tl.constexpr, DEPTH: tl.constexpr, GROUP: tl.constexpr):
    # Blocks that share rows run near each other, so that both sides stay in the cache.
    block, down = tl.program_id(0), tl.cdiv(m, ROWS)
    across = tl.cdiv(n, COLS)
    first = block // (GROUP * across) * GROUP
    height = min(down - first, GROUP)
    row = (first + block % (GROUP * across) % height) * ROWS + tl.arange(0, ROWS)
    col = block % (GROUP * across) // height * COLS + tl.arange(0, COLS)
    step = tl.arange(0, DEPTH)
    left = a + row[:, None] * k + step[None, :]
    right = b + col[None, :] * k + step[:, None]
    total = tl.zeros((ROWS, COLS), dtype=tl.float32)
    for at in range(0, k, DEPTH):
        inside = step < k - at
        x = tl.load(left, mask=(row < m)[:, None] & inside[None, :], other=0.0)
        y = tl.load(right, mask=(col < n)[None, :] & inside[:, None], other=0.0)
        total = tl.dot(x, y, total)
        left += DEPTH
        right += DEPTH
    if SCALED:
        total *= tl.load(a_scales + row, mask=row < m, other=0.0)[:, None]
        total *= tl.load(b_scales + col, mask=col < n, other=0.0)[None, :]
    place = out + row[:, None] * n + col[None, :]
    tl.store(place, total.to(tl.bfloat16), mask=(row < m)[:, None] & (col < n)[None, :])


def product(a, b, scales=None):
    """`a [m, k] · b [n, k]ᵀ` in bf16; `scales`: one a row of `a` and of `b`, f32, for E4M3."""
    (m, k), n = a.shape, b.shape[0]
    out = torch.empty(m, n, device=a.device, dtype=torch.bfloat16)
    a_scales, b_scales = scales if scales else (out, out)
    grid = lambda way: (triton.cdiv(m, way["ROWS"]) * triton.cdiv(n, way["COLS"]),)
    multiply[grid](a, b, a_scales, b_scales, out, m, n, k, SCALED=scales is not None)
    return out


def quantised(x):
    """E4M3 codes of the rows of `x` and their scales."""
    scales = (x.abs().amax(1).float() / 448).clamp(min=1e-12)
    return (x.float() / scales[:, None]).to(torch.float8_e4m3fn), scales


def main():
    torch.manual_seed(1)
    for m, n, k in ((16, 32, 32), (5, 7, 48), (50, 70, 96), (33, 31, 80)):
        a, b = torch.randn(m, k), torch.randn(n, k)
        (a8, a_scales), (b8, b_scales) = quantised(a), quantised(b)
        codes = (a8.float() * a_scales[:, None]) @ (b8.float() * b_scales[:, None]).T
        # The interpreter multiplies the bits of bf16 as whole numbers; the kernel is the same for f16.
        half = a.half().float() @ b.half().float().T
        for what, found, exact in (
            ("E4M3", product(a8, b8, (a_scales, b_scales)), codes),
            ("f16", product(a.half(), b.half()), half),
        ):
            error = (found.float() - exact).abs().max().item()
            # The interpreter cuts the result off to bf16 where a device rounds it; sums come in another order.
            bound = exact.abs().max().item() * (2**-7 + k * 2**-23) + 1e-6
            print(f"{what} {m} x {n} x {k}: within {error:.2e} of {bound:.2e}")
            assert error <= bound


if __name__ == "__main__":
    main()
