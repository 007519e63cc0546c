// The FP8 matrix product of a block: one producer thread, two consumer warpgroups, four stages between them.
//
//   producer: wait for an empty stage => load 128 x 128 codes of a and of b => their bytes make the stage full
//   consumer: wait for a full stage => four products over 32 codes each => the stage is empty
//             => ... after the last stage of a tile: scale, store
//
// The tensor core cuts its sums at 13 fraction bits. Where scales change every 128 columns, or k is so large that the
// cuts add up, a stage's sums are added to others in f32 ("promoted") and begin anew.
//
// In: tensor maps, scales and a schedule of tiles. Out: 128 x 128 of `out` a tile; a consumer warpgroup has 64 rows of
// it. Edges: loads out of bounds are zeros, stores out of bounds do not happen.
#pragma once

#include "ptx.cuh"

constexpr int TILE = 128;  // rows of a, rows of b and codes of a stage
constexpr int STEP = 32;   // codes of one product
constexpr int STAGES = 4;
constexpr int CONSUMERS = 256;  // threads
constexpr int GEMM_THREADS = CONSUMERS + 128;
constexpr unsigned TILE_BYTES = TILE * TILE;
constexpr int UNPROMOTED = 4096;  // columns that the tensor core adds up alone, at most

enum class Scaling { Rows, Blocks };

struct Barriers {
    unsigned long long full[STAGES];
    unsigned long long empty[STAGES];
};

// A tile: rows row .. row_end of a and out (row_end may lie beyond the tile), columns from col.
struct Tile {
    int row, row_end, col;
    int b_row;    // of the b map
    int b_block;  // row of b_scales when scales are by block
};

__device__ __forceinline__ int tiles_over(int size) { return (size + TILE - 1) / TILE; }

// Tiles of one matrix: neighbours in time share their part of b.
struct Dense {
    int m, n;

    __device__ __forceinline__ bool find(int index, Tile& tile) {
        const int down = tiles_over(m);
        if (index >= down * tiles_over(n)) return false;
        const int col = index / down;
        tile = {index % down * TILE, m, col * TILE, col * TILE, col};
        return true;
    }
};

// Tiles of all experts, expert after expert. Asked for ascending indices.
struct Grouped {
    const unsigned* row_offsets;
    int experts, n;
    int expert = 0, before = 0;

    __device__ __forceinline__ bool find(int index, Tile& tile) {
        const int across = tiles_over(n);
        for (; expert < experts; expert++) {
            const int start = row_offsets[expert], end = row_offsets[expert + 1];
            const int down = tiles_over(end - start), own = index - before;
            if (own < down * across) {
                const int col = own / down;
                tile = {start + own % down * TILE, end, col * TILE, expert * n + col * TILE, expert * across + col};
                return true;
            }
            before += down * across;
        }
        return false;
    }
};

template <typename Out>
struct Problem {
    const float* a_scales;
    const float* b_scales;
    Out* out;
    int n, k;
    bool accumulate;
};

// Shared memory as the matrix unit reads it: rows of 128 bytes, groups of eight rows 1024 bytes apart, swizzled by
// 128 bytes. `tile` lies at a multiple of 1024.
__device__ __forceinline__ unsigned long long matrix_descriptor(const unsigned char* tile) {
    constexpr unsigned long long LEADING = 1ull << 16;  // not read with this swizzle
    constexpr unsigned long long STRIDE = (1024ull >> 4) << 32;
    constexpr unsigned long long SWIZZLE_128 = 1ull << 62;
    return (shared_address(tile) & 0x3FFFF) >> 4 | LEADING | STRIDE | SWIZZLE_128;
}

// The stage in use and the parity of its phase.
struct Place {
    int stage = 0;
    unsigned parity = 0;

    __device__ __forceinline__ void advance() {
        if (++stage == STAGES) {
            stage = 0;
            parity ^= 1;
        }
    }
};

template <typename Schedule>
__device__ __forceinline__ void produce(const TensorMap& a_map, const TensorMap& b_map, int blocks, Schedule schedule,
                                        unsigned char* stages, Barriers& barriers) {
    Place place;
    Tile tile;
    for (int index = blockIdx.x; schedule.find(index, tile); index += gridDim.x) {
        for (int block = 0; block < blocks; block++, place.advance()) {
            unsigned char* a = stages + place.stage * 2 * TILE_BYTES;
            mbarrier_wait(&barriers.empty[place.stage], place.parity ^ 1);
            mbarrier_expect(&barriers.full[place.stage], 2 * TILE_BYTES);
            tma_load_2d(a, &a_map, &barriers.full[place.stage], block * TILE, tile.row);
            tma_load_2d(a + TILE_BYTES, &b_map, &barriers.full[place.stage], block * TILE, tile.b_row);
        }
    }
}

__device__ __forceinline__ void put(float* to, float x, bool accumulate) { *to = accumulate ? __fadd_rn(*to, x) : x; }

__device__ __forceinline__ void put(bf16* to, float x, bool) { *to = static_cast<bf16>(to_bf16x2(x, 0.0f)); }

__device__ __forceinline__ void put_pair(float* to, float x, float y, bool accumulate) {
    float2* pair = reinterpret_cast<float2*>(to);
    const float2 old = accumulate ? *pair : float2{0.0f, 0.0f};
    *pair = accumulate ? float2{__fadd_rn(old.x, x), __fadd_rn(old.y, y)} : float2{x, y};
}

__device__ __forceinline__ void put_pair(bf16* to, float x, float y, bool) {
    *reinterpret_cast<unsigned*>(to) = to_bf16x2(x, y);
}

// The sums of one warpgroup, scaled and stored. `row` is this thread's first; the other is eight below.
template <Scaling SCALING, typename Out>
__device__ __forceinline__ void store(const Problem<Out>& problem, const Tile& tile, int row, const float (&sums)[64]) {
    const int n = problem.n;
    float a_scale[2] = {1.0f, 1.0f};
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (SCALING == Scaling::Rows && row + 8 * half < tile.row_end) a_scale[half] = problem.a_scales[row + 8 * half];
    }
#pragma unroll
    for (int j = 0; j < TILE / 8; j++) {
        const int col = tile.col + 8 * j + 2 * (threadIdx.x % 4);
        if (col >= n) return;
        const bool both = col + 1 < n;
        float b_scale[2] = {1.0f, 1.0f};
        if (SCALING == Scaling::Rows) {
            b_scale[0] = problem.b_scales[col];
            if (both) b_scale[1] = problem.b_scales[col + 1];
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            if (row + 8 * half >= tile.row_end) continue;
            float x = sums[4 * j + 2 * half], y = sums[4 * j + 2 * half + 1];
            if (SCALING == Scaling::Rows) {
                x = __fmul_rn(__fmul_rn(x, a_scale[half]), b_scale[0]);
                y = __fmul_rn(__fmul_rn(y, a_scale[half]), b_scale[1]);
            }
            Out* to = problem.out + static_cast<size_t>(row + 8 * half) * n + col;
            if (n % 2 == 0) {
                put_pair(to, x, y, problem.accumulate);
            } else {
                put(to, x, problem.accumulate);
                if (both) put(to + 1, y, problem.accumulate);
            }
        }
    }
}

// Waits for a full stage and starts the four products of it.
__device__ __forceinline__ void multiply(float (&sums)[64], unsigned char* stages, Barriers& barriers,
                                         const Place& place, int group, bool accumulate) {
    const unsigned char* a = stages + place.stage * 2 * TILE_BYTES;
    mbarrier_wait(&barriers.full[place.stage], place.parity);
    const unsigned long long left = matrix_descriptor(a + group * (TILE_BYTES / 2));
    const unsigned long long right = matrix_descriptor(a + TILE_BYTES);
    wgmma_fence();
#pragma unroll
    for (int step = 0; step < TILE / STEP; step++) {
        wgmma_e4m3_m64n128k32(sums, left + step * STEP / 16, right + step * STEP / 16, accumulate || step > 0);
    }
    wgmma_commit();
}

// Every warp says for itself that it has read a stage.
__device__ __forceinline__ void release(Barriers& barriers, int stage) {
    if (threadIdx.x % 32 == 0) mbarrier_arrive(&barriers.empty[stage]);
}

template <typename Out, typename Schedule>
__device__ __forceinline__ void consume_rows(const Problem<Out>& problem, int blocks, Schedule schedule,
                                             unsigned char* stages, Barriers& barriers) {
    const int group = threadIdx.x / 128, within = group * 64 + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
    Place place;
    Tile tile;
    for (int index = blockIdx.x; schedule.find(index, tile); index += gridDim.x) {
        float sums[64] = {};
        int previous = 0;
        for (int block = 0; block < blocks; block++, place.advance()) {
            multiply(sums, stages, barriers, place, group, block > 0);
            // The group before is done once only this one is under way.
            wgmma_wait<1>(sums);
            if (block > 0) release(barriers, previous);
            previous = place.stage;
        }
        wgmma_wait<0>(sums);
        if (blocks > 0) release(barriers, previous);
        store<Scaling::Rows>(problem, tile, tile.row + within, sums);
    }
}

template <Scaling SCALING, typename Out, typename Schedule>
__device__ __forceinline__ void consume_promoted(const Problem<Out>& problem, int blocks, Schedule schedule,
                                                 unsigned char* stages, Barriers& barriers) {
    const int group = threadIdx.x / 128, within = group * 64 + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
    Place place;
    Tile tile;
    for (int index = blockIdx.x; schedule.find(index, tile); index += gridDim.x) {
        float promoted[64] = {};
        const int row = tile.row + within;
        const float* a_scales = problem.a_scales + static_cast<size_t>(row) * blocks;
        const float* b_scales = problem.b_scales + static_cast<size_t>(tile.b_block) * blocks;
        for (int block = 0; block < blocks; block++, place.advance()) {
            float sums[64], upper = 1.0f, lower = 1.0f;
            multiply(sums, stages, barriers, place, group, false);
            if (SCALING == Scaling::Blocks) {
                const float b_scale = b_scales[block];
                upper = row < tile.row_end ? __fmul_rn(a_scales[block], b_scale) : 0.0f;
                lower = row + 8 < tile.row_end ? __fmul_rn(a_scales[8 * blocks + block], b_scale) : 0.0f;
            }
            wgmma_wait<0>(sums);
            release(barriers, place.stage);
#pragma unroll
            for (int i = 0; i < 64; i++) {
                promoted[i] = SCALING == Scaling::Rows ? __fadd_rn(promoted[i], sums[i])
                                                       : __fmaf_rn(sums[i], i % 4 < 2 ? upper : lower, promoted[i]);
            }
        }
        store<SCALING>(problem, tile, row, promoted);
    }
}

// The whole of a block. `memory` holds four stages and up to 1024 bytes to align them.
template <Scaling SCALING, typename Out, typename Schedule>
__device__ __forceinline__ void gemm(const TensorMap& a_map, const TensorMap& b_map, const Problem<Out>& problem,
                                     Schedule schedule, unsigned char* memory, Barriers& barriers) {
    unsigned char* stages = memory + (0u - shared_address(memory)) % 1024;
    const int blocks = tiles_over(problem.k);
    if (threadIdx.x == 0) {
        for (int stage = 0; stage < STAGES; stage++) {
            mbarrier_init(&barriers.full[stage], 1);
            mbarrier_init(&barriers.empty[stage], CONSUMERS / 32);
        }
        fence_barrier_init();
    }
    __syncthreads();
    if (threadIdx.x == CONSUMERS) {
        if (blocks > 0) {
            tma_prefetch(&a_map);
            tma_prefetch(&b_map);
        }
        produce(a_map, b_map, blocks, schedule, stages, barriers);
    } else if (threadIdx.x < CONSUMERS) {
        if (SCALING == Scaling::Rows && problem.k <= UNPROMOTED) {
            consume_rows(problem, blocks, schedule, stages, barriers);
        } else {
            consume_promoted<SCALING>(problem, blocks, schedule, stages, barriers);
        }
    }
}
