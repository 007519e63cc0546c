// RMSNorm and quantisation of a row in one pass: x / sqrt(mean x^2 + eps) * gain, then E4M3 with one scale a row.
//
// In: `x` [rows, cols] and `gain` [cols], f32. Out: `codes` [rows, cols], `scales` [rows]. Grid: one block of 256 threads
// a row; dynamic shared memory: cols floats. The sum of squares runs over the CPU's 16 lanes in the CPU's order, so that
// codes and scales can be compared by equality: lane l adds elements l, l + 16, ... one after another. That is serial
// in cols / 16; a faster tree has to change on both sides at once.
#include "fp8.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
rmsnorm_quantise(const float* __restrict__ x, const float* __restrict__ gain, unsigned char* __restrict__ codes,
                 float* __restrict__ scales, int cols, float epsilon) {
    extern __shared__ float row[];
    __shared__ unsigned words[THREADS / 32];
    __shared__ float root;
    const size_t start = static_cast<size_t>(blockIdx.x) * cols;
    for (int i = threadIdx.x; i < cols; i += THREADS) row[i] = x[start + i];
    __syncthreads();
    if (threadIdx.x < 32) {
        float sum = 0.0f;
        if (threadIdx.x < LANES) {
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
    const float scale = scale_for(block_max(largest, words));
    const float factor = __fdiv_rn(1.0f, scale);
    if (threadIdx.x == 0) scales[blockIdx.x] = scale;
    for (int i = threadIdx.x; i < cols; i += THREADS) codes[start + i] = encode_e4m3(__fmul_rn(row[i], factor));
}
