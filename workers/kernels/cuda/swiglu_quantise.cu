// The gated unit and quantisation of a row in one pass: silu(left) * right, then E4M3 with one scale a row.
//
// In: `x` [rows, 2 * cols], f32, left half and right half. Out: `codes` [rows, cols], `scales` [rows]. Grid: one block of
// 256 threads a row; dynamic shared memory: cols floats. Element by element the CPU's arithmetic.
#include "fp8.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
swiglu_quantise(const float* __restrict__ x, unsigned char* __restrict__ codes, float* __restrict__ scales, int cols) {
    extern __shared__ float row[];
    __shared__ unsigned words[THREADS / 32];
    const float* left = x + static_cast<size_t>(blockIdx.x) * 2 * cols;
    unsigned largest = 0;
    for (int i = threadIdx.x; i < cols; i += THREADS) {
        float gate = left[i];
        float y = __fmul_rn(__fmul_rn(gate, sigmoid_shared(gate)), left[cols + i]);
        row[i] = y;
        largest = max(largest, magnitude(y));
    }
    const float scale = scale_for(block_max(largest, words));
    const float factor = __fdiv_rn(1.0f, scale);
    if (threadIdx.x == 0) scales[blockIdx.x] = scale;
    const size_t start = static_cast<size_t>(blockIdx.x) * cols;
    for (int i = threadIdx.x; i < cols; i += THREADS) codes[start + i] = encode_e4m3(__fmul_rn(row[i], factor));
}
