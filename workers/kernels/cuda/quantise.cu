// Quantisation of rows that are already there, such as the output of an attention.
//
// In: `x` [rows, cols], f32 or bf16. Out: `codes` [rows, cols] in E4M3; `scales` [rows] or, by tile,
// [rows, ceil(cols / 128)]. The bits of the CPU's quantisation.
//
// Entries: quantise_f32, quantise_bf16 (a scale a row), quantise_f32_tiles (every 128 columns)
//   (const float* | const bf16* x, unsigned char* codes, float* scales, int cols)
// Grid: (rows, 1, 1). Block: 256. Dynamic shared memory: 4 * cols bytes. cols >= 1.
#include "fp8.cuh"

namespace {

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(bf16 x) { return from_bf16(x); }

template <bool TILED, typename T>
__device__ __forceinline__ void quantise(const T* x, unsigned char* codes, float* scales, int cols, float* row,
                                         unsigned* words) {
    const T* from = x + static_cast<size_t>(blockIdx.x) * cols;
    unsigned largest = 0;
    for (int i = threadIdx.x; i < cols; i += THREADS) {
        row[i] = widen(from[i]);
        largest = max(largest, magnitude(row[i]));
    }
    encode_row<TILED>(row, largest, codes, scales, cols, words);
}

}  // namespace

#define QUANTISE(NAME, TILED, T)                                                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                        \
        NAME(const T* __restrict__ x, unsigned char* __restrict__ codes, float* __restrict__ scales, int cols) { \
        extern __shared__ float row[];                                                                           \
        __shared__ unsigned words[THREADS / 32];                                                                 \
        quantise<TILED>(x, codes, scales, cols, row, words);                                                     \
    }

QUANTISE(quantise_f32, false, float)
QUANTISE(quantise_bf16, false, bf16)
QUANTISE(quantise_f32_tiles, true, float)
