// RMSNorm of a row, x / sqrt(mean x^2 + eps) * gain, and what follows it in the same pass: E4M3, or bf16.
//
// In: `x` [rows, cols] and `gain` [cols], f32. Out: `codes` [rows, cols] with `scales` [rows] or, by tile,
// [rows, ceil(cols / 128)]; or `out` [rows, cols] in bf16, for products that stay in high precision. The sum of squares
// runs over the CPU's 16 lanes in the CPU's order, so that codes and scales can be compared by equality: lane l adds
// elements l, l + 16, ... one after another. That is serial in cols / 16; a faster tree has to change on both sides at
// once.
//
// Entries: rmsnorm_quantise (a scale a row), rmsnorm_quantise_tiles (a scale every 128 columns)
//   (const float* x, const float* gain, unsigned char* codes, float* scales, int cols, float epsilon)
// Entry: rmsnorm_bf16
//   (const float* x, const float* gain, bf16* out, int cols, float epsilon)
// Grid: (rows, 1, 1). Block: 256. Dynamic shared memory: 4 * cols bytes. cols >= 1.
#include "fp8.cuh"

namespace {

// Leaves the normed row in `row`; gives the largest magnitude this thread wrote.
__device__ __forceinline__ unsigned rmsnorm(const float* x, const float* gain, int cols, float epsilon, float* row,
                                            float& root) {
    const size_t start = static_cast<size_t>(blockIdx.x) * cols;
    for (int i = threadIdx.x; i < cols; i += THREADS) row[i] = x[start + i];
    __syncthreads();
    if (threadIdx.x < 32) {
        float sum = 0.0f;
        if (threadIdx.x < LANES) {
            // Unrolled for the loads: the sum itself stays one chain.
#pragma unroll 8
            for (int i = threadIdx.x; i < cols; i += LANES) sum = __fmaf_rn(row[i], row[i], sum);
        }
#pragma unroll
        for (int half = LANES / 2; half > 0; half /= 2) {
            sum = __fadd_rn(sum, __shfl_down_sync(0xFFFFFFFFu, sum, half));
        }
        if (threadIdx.x == 0) {
            float mean = __fmul_rn(sum, __fdiv_rn(1.0f, static_cast<float>(cols)));
            root = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(mean, epsilon)));
        }
    }
    __syncthreads();
    unsigned largest = 0;
    for (int i = threadIdx.x; i < cols; i += THREADS) {
        float y = __fmul_rn(__fmul_rn(row[i], root), gain[i]);
        row[i] = y;
        largest = max(largest, magnitude(y));
    }
    return largest;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(THREADS)
    rmsnorm_quantise(const float* __restrict__ x, const float* __restrict__ gain, unsigned char* __restrict__ codes,
                     float* __restrict__ scales, int cols, float epsilon) {
    extern __shared__ float row[];
    __shared__ unsigned words[THREADS / 32];
    __shared__ float root;
    encode_row<false>(row, rmsnorm(x, gain, cols, epsilon, row, root), codes, scales, cols, words);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    rmsnorm_quantise_tiles(const float* __restrict__ x, const float* __restrict__ gain,
                           unsigned char* __restrict__ codes, float* __restrict__ scales, int cols, float epsilon) {
    extern __shared__ float row[];
    __shared__ unsigned words[THREADS / 32];
    __shared__ float root;
    encode_row<true>(row, rmsnorm(x, gain, cols, epsilon, row, root), codes, scales, cols, words);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    rmsnorm_bf16(const float* __restrict__ x, const float* __restrict__ gain, bf16* __restrict__ out, int cols,
                 float epsilon) {
    extern __shared__ float row[];
    __shared__ float root;
    rmsnorm(x, gain, cols, epsilon, row, root);
    // A thread reads back what it wrote itself.
    for (int i = threadIdx.x; i < cols; i += THREADS) {
        out[static_cast<size_t>(blockIdx.x) * cols + i] = static_cast<bf16>(to_bf16x2(row[i], 0.0f));
    }
}
