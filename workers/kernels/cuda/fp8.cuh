// What the quantising kernels share: reductions over a fixed tree, scales, the conversion to E4M3.
//
// In: f32 values of one row, spread over a block of 256 threads. Out: the same bits as the CPU's
// `kernels::fp8`: 16 lanes added element by element, folded in halves; explicit fused
// multiply-adds; correctly rounded division and square root. Compile without fast-math.
#pragma once

constexpr int THREADS = 256;
constexpr int LANES = 16;
constexpr float LARGEST_E4M3 = 448.0f;

// One E4M3 code, nearest even, saturating; NaN is 0x7F.
__device__ __forceinline__ unsigned char encode_e4m3(float x) {
    unsigned short pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
    return static_cast<unsigned char>(pair & 0xFF);
}

// A magnitude as an integer that compares as it does; NaN counts as nothing.
__device__ __forceinline__ unsigned magnitude(float x) {
    unsigned bits = __float_as_uint(x) & 0x7FFFFFFFu;
    return bits > 0x7F800000u ? 0u : bits;
}

// The scale for a largest magnitude: at least the smallest normal, at most 2^119.
__device__ __forceinline__ float scale_for(unsigned largest) {
    const float top = __uint_as_float(0x7F600000u);  // 1.75 * 2^127
    float scale = __fdiv_rn(fminf(__uint_as_float(largest), top), LARGEST_E4M3);
    return fmaxf(scale, 1.17549435e-38f);
}

// The largest of a block, the same for every thread. `shared` has a word for each warp.
__device__ __forceinline__ unsigned block_max(unsigned value, unsigned* shared) {
    value = __reduce_max_sync(0xFFFFFFFFu, value);
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    unsigned largest = shared[0];
#pragma unroll
    for (int warp = 1; warp < THREADS / 32; warp++) largest = max(largest, shared[warp]);
    __syncthreads();
    return largest;
}

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

__device__ __forceinline__ float sigmoid_shared(float x) {
    return __fdiv_rn(1.0f, __fadd_rn(1.0f, exp_shared(-x)));
}
