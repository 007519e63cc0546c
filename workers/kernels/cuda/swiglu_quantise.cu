// The gated unit of a row, silu(left) * right, and its quantisation to E4M3 in the same pass, or the unit as bf16.
//
// In: `x` [rows, 2 * cols], f32, left half and right half. Out: `codes` [rows, cols]; `scales` [rows] or, by tile,
// [rows, ceil(cols / 128)]; or `out` [rows, cols] as bf16, nearest even. Element by element the CPU's arithmetic.
//
// Entries: swiglu_quantise (a scale a row), swiglu_quantise_tiles (a scale every 128 columns)
//   (const float* x, unsigned char* codes, float* scales, int cols)
// Entry: swiglu_bf16
//   (const float* x, bf16* out, int cols)
// Grid: (rows, 1, 1). Block: 256. Dynamic shared memory: 4 * cols bytes, swiglu_bf16 none. cols >= 1.
#include "fp8.cuh"

namespace {

__device__ __forceinline__ float gated(float left, float right) {
    return __fmul_rn(__fmul_rn(left, sigmoid_shared(left)), right);
}

template <bool TILED>
__device__ __forceinline__ void swiglu(const float* x, unsigned char* codes, float* scales, int cols, float* row,
                                       unsigned* words) {
    const float* left = x + static_cast<size_t>(blockIdx.x) * 2 * cols;
    unsigned largest = 0;
    for (int i = threadIdx.x; i < cols; i += THREADS) {
        float y = gated(left[i], left[cols + i]);
        row[i] = y;
        largest = max(largest, magnitude(y));
    }
    encode_row<TILED>(row, largest, codes, scales, cols, words);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(THREADS)
    swiglu_quantise(const float* __restrict__ x, unsigned char* __restrict__ codes, float* __restrict__ scales,
                    int cols) {
    extern __shared__ float row[];
    __shared__ unsigned words[THREADS / 32];
    swiglu<false>(x, codes, scales, cols, row, words);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    swiglu_quantise_tiles(const float* __restrict__ x, unsigned char* __restrict__ codes, float* __restrict__ scales,
                          int cols) {
    extern __shared__ float row[];
    __shared__ unsigned words[THREADS / 32];
    swiglu<true>(x, codes, scales, cols, row, words);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    swiglu_bf16(const float* __restrict__ x, bf16* __restrict__ out, int cols) {
    const float* left = x + static_cast<size_t>(blockIdx.x) * 2 * cols;
    for (int i = threadIdx.x; i < cols; i += THREADS) {
        out[static_cast<size_t>(blockIdx.x) * cols + i] = static_cast<bf16>(to_bf16x2(gated(left[i], left[cols + i]), 0.0f));
    }
}
