// What the quantising kernels share: reductions over a fixed tree, scales, the conversion to E4M3.
//
// In: f32 values of one row, spread over a block of 256 threads. Out: the same bits as the CPU's
// `kernels::fp8`: explicit fused multiply-adds, correctly rounded division. Compile without fast-math.
#pragma once

#include "arithmetic.cuh"
#include "ptx.cuh"

constexpr int THREADS = 256;
constexpr int LANES = 16;
constexpr int TILE_COLS = 128;  // columns under one scale where scales are by tile
constexpr float LARGEST_E4M3 = 448.0f;

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

// Encodes `row`, in shared memory and written by this block, with one scale or, `TILED`, one for every 128 columns.
// `largest` is the magnitude of the largest element this thread wrote.
template <bool TILED>
__device__ __forceinline__ void encode_row(const float* row, unsigned largest, unsigned char* codes, float* scales,
                                           int cols, unsigned* words) {
    const size_t start = static_cast<size_t>(blockIdx.x) * cols;
    if (!TILED) {
        const float scale = scale_for(block_max(largest, words));
        const float factor = __fdiv_rn(1.0f, scale);
        if (threadIdx.x == 0) scales[blockIdx.x] = scale;
        for (int i = threadIdx.x; i < cols; i += THREADS) codes[start + i] = encode_e4m3(__fmul_rn(row[i], factor));
        return;
    }
    __syncthreads();
    const int lane = threadIdx.x % 32, tiles = (cols + TILE_COLS - 1) / TILE_COLS;
    for (int tile = threadIdx.x / 32; tile < tiles; tile += THREADS / 32) {
        unsigned most = 0;
#pragma unroll
        for (int i = 0; i < TILE_COLS / 32; i++) {
            const int col = tile * TILE_COLS + i * 32 + lane;
            if (col < cols) most = max(most, magnitude(row[col]));
        }
        const float scale = scale_for(__reduce_max_sync(0xFFFFFFFFu, most));
        const float factor = __fdiv_rn(1.0f, scale);
        if (lane == 0) scales[static_cast<size_t>(blockIdx.x) * tiles + tile] = scale;
#pragma unroll
        for (int i = 0; i < TILE_COLS / 32; i++) {
            const int col = tile * TILE_COLS + i * 32 + lane;
            if (col < cols) codes[start + col] = encode_e4m3(__fmul_rn(row[col], factor));
        }
    }
}
