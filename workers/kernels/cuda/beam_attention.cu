// Self-attention of beams over their own few positions; a beam's past is found through parents, keys never move.
//
// In: queries of the newest level; keys and values of all levels so far, each row where the step that made it left it.
// Out: softmax(q . k * scale) . v over the chain of ancestors, level 0 to `level`. At most 8 levels.
//
// Entries: beam_attention_64, beam_attention_128 (head width)
//   (const bf16* queries [rows, heads, width], const bf16* keys [level + 1, capacity, heads, width],
//    const bf16* values (as keys), const unsigned* parents [level + 1, capacity], bf16* out [rows, heads, width],
//    int rows, int heads, unsigned capacity, int level, float scale)
// parents[l][row] is the row of level l - 1 that the row of level l continues; level 0 is not read.
// The newest level's keys and values are at index `level`, rows as those of `queries`; rows <= capacity.
// Grid: (ceil(rows * heads / 4), 1, 1). Block: 128: a warp a row and head. Dynamic shared memory: 0.
// Alignment: 8 bytes. Sums run in a fixed order: the same bits in every run.
#include "arithmetic.cuh"
#include "ptx.cuh"

constexpr int MOST_LEVELS = 8;

namespace {

template <int WIDTH>
__device__ __forceinline__ void load(float (&x)[WIDTH / 32], const bf16* row) {
#pragma unroll
    for (int i = 0; i < WIDTH / 64; i++) {
        const unsigned pair = reinterpret_cast<const unsigned*>(row)[i * 32 + threadIdx.x % 32];
        x[2 * i] = from_bf16(static_cast<bf16>(pair));
        x[2 * i + 1] = from_bf16(static_cast<bf16>(pair >> 16));
    }
}

template <int WIDTH>
__device__ __forceinline__ void attend(const bf16* queries, const bf16* keys, const bf16* values,
                                       const unsigned* parents, bf16* out, int rows, int heads, unsigned capacity,
                                       int level, float scale) {
    const int task = blockIdx.x * 4 + threadIdx.x / 32;
    if (task >= rows * heads) return;
    const int head = task % heads;
    const size_t pitch = static_cast<size_t>(heads) * WIDTH;
    float q[WIDTH / 32], sum[WIDTH / 32] = {};
    load<WIDTH>(q, queries + static_cast<size_t>(task) * WIDTH);
    unsigned chain[MOST_LEVELS];
    unsigned row = task / heads;
#pragma unroll
    for (int l = MOST_LEVELS - 1; l >= 0; l--) {
        chain[l] = row;
        if (l <= level && l > 0) row = parents[static_cast<size_t>(l) * capacity + row];
    }
    float score[MOST_LEVELS], top = -infinite();
#pragma unroll
    for (int l = 0; l < MOST_LEVELS; l++) {
        if (l > level) continue;
        float k[WIDTH / 32], dot = 0.0f;
        load<WIDTH>(k, keys + (static_cast<size_t>(l) * capacity + chain[l]) * pitch + head * WIDTH);
#pragma unroll
        for (int i = 0; i < WIDTH / 32; i++) dot = __fmaf_rn(q[i], k[i], dot);
#pragma unroll
        for (int half = 16; half > 0; half /= 2) dot = __fadd_rn(dot, __shfl_xor_sync(0xFFFFFFFFu, dot, half));
        score[l] = __fmul_rn(dot, scale);
        top = fmaxf(top, score[l]);
    }
    float total = 0.0f;
#pragma unroll
    for (int l = 0; l < MOST_LEVELS; l++) {
        if (l > level) continue;
        const float share = exp_shared(__fsub_rn(score[l], top));
        total = __fadd_rn(total, share);
        float v[WIDTH / 32];
        load<WIDTH>(v, values + (static_cast<size_t>(l) * capacity + chain[l]) * pitch + head * WIDTH);
#pragma unroll
        for (int i = 0; i < WIDTH / 32; i++) sum[i] = __fmaf_rn(share, v[i], sum[i]);
    }
    unsigned* to = reinterpret_cast<unsigned*>(out + static_cast<size_t>(task) * WIDTH);
#pragma unroll
    for (int i = 0; i < WIDTH / 64; i++) {
        to[i * 32 + threadIdx.x % 32] = to_bf16x2(__fdiv_rn(sum[2 * i], total), __fdiv_rn(sum[2 * i + 1], total));
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(128)
    beam_attention_64(const bf16* __restrict__ queries, const bf16* __restrict__ keys, const bf16* __restrict__ values,
                      const unsigned* __restrict__ parents, bf16* __restrict__ out, int rows, int heads,
                      unsigned capacity, int level, float scale) {
    attend<64>(queries, keys, values, parents, out, rows, heads, capacity, level, scale);
}

extern "C" __global__ void __launch_bounds__(128)
    beam_attention_128(const bf16* __restrict__ queries, const bf16* __restrict__ keys, const bf16* __restrict__ values,
                       const unsigned* __restrict__ parents, bf16* __restrict__ out, int rows, int heads,
                       unsigned capacity, int level, float scale) {
    attend<128>(queries, keys, values, parents, out, rows, heads, capacity, level, scale);
}
