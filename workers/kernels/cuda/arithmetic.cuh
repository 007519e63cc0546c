// Arithmetic with the bits of the CPU side: the exponential and what is made of it.
//
// In: one f32. Out: one f32, from explicit fused multiply-adds and correctly rounded operations in the order of the
// CPU's `cpu::exp`. Compile without fast-math.
#pragma once

__device__ __forceinline__ float infinite() { return __uint_as_float(0x7F800000u); }

// e^x with the CPU's polynomial, so that gates agree in bits; below -86.6 it is zero.
__device__ __forceinline__ float exp_shared(float x) {
    const float round = 12582912.0f;
    float shifted = __fmaf_rn(x, 1.44269504088896340736f, round);
    float n = __fsub_rn(shifted, round);
    float r = __fmaf_rn(n, 2.1219444e-4f, __fmaf_rn(n, -0.6933594f, x));
    float p = 1.9875691e-4f;
    p = __fmaf_rn(p, r, 1.3982e-3f);
    p = __fmaf_rn(p, r, 8.333452e-3f);
    p = __fmaf_rn(p, r, 4.1665796e-2f);
    p = __fmaf_rn(p, r, 1.6666665e-1f);
    p = __fmaf_rn(p, r, 0.5f);
    p = __fadd_rn(__fmaf_rn(p, __fmul_rn(r, r), r), 1.0f);
    float half = __uint_as_float((__float_as_uint(shifted) << 23) + (126u << 23));
    float value = __fmul_rn(__fmul_rn(p, half), 2.0f);
    value = x > 88.72283f ? __uint_as_float(0x7F800000u) : value;
    return x < -86.6f ? 0.0f : value;
}

__device__ __forceinline__ float sigmoid_shared(float x) { return __fdiv_rn(1.0f, __fadd_rn(1.0f, exp_shared(-x))); }
