// The gated unit and quantisation of a row in one pass: silu(left) * right, then E4M3.
//
// In: `x` [rows, 2 * cols], f32, left half and right half. Out: `codes` [rows, cols]; `scales` [rows] or, by tile,
// [rows, ceil(cols / 128)]. Element by element the CPU's arithmetic.
//
// Entries: swiglu_quantise (a scale a row), swiglu_quantise_tiles (a scale every 128 columns)
//   (const float* x, unsigned char* codes, float* scales, int cols)
// Grid: (rows, 1, 1). Block: 256. Dynamic shared memory: 4 * cols bytes. cols >= 1.
#include "fp8.cuh"

namespace {

template <bool TILED>
__device__ __forceinline__ void swiglu(const float* x, unsigned char* codes, float* scales, int cols, float* row,
                                       unsigned* words) {
    const float* left = x + static_cast<size_t>(blockIdx.x) * 2 * cols;
    unsigned largest = 0;
    for (int i = threadIdx.x; i < cols; i += THREADS) {
        float gate = left[i];
        float y = __fmul_rn(__fmul_rn(gate, sigmoid_shared(gate)), left[cols + i]);
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
