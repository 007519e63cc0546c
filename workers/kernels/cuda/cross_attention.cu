// Attention of all beams of a request to the request's one context, which is read where it lies.
//
// In: queries, keys, values in bf16; who sees which keys; a score by distance. Out: softmax(q . k * scale + bias) . v.
// Beams and the heads of a group are folded into the rows of one product against the group's single key head, so that a
// key is read once for 64 rows, not once a beam. Online softmax in f32; an empty span gives zeros.
//
// Entries: cross_attention_64, cross_attention_128 (head width)
//   (const bf16* queries [requests, beams, heads, width], const bf16* keys [all keys, groups, width],
//    const bf16* values (as keys; may be the keys), const unsigned* spans [requests, 2], const float* bias,
//    const unsigned* query_positions [requests], const unsigned* key_positions [all keys],
//    bf16* out (as queries), int beams, int heads, int groups, int distances, float scale)
// spans: a request sees keys spans[2 r] .. spans[2 r + 1]; end <= start is empty. Head h belongs to group
// h / (heads / groups). bias (null: none, then both positions may be null): [heads, distances], column
// min(query position - key position, distances - 1), 0 when negative.
// Grid: (ceil(beams * (heads / groups) / 64), groups, requests). Block: 128.
// Dynamic shared memory: 4 * 64 * (width + 8) * 2 bytes: 36864 for 64, 69632 for 128. Alignment: 16 bytes.
#include "arithmetic.cuh"
#include "ptx.cuh"

constexpr int WARPS = 4;
constexpr int ROWS = 16 * WARPS;  // folded rows of a block
constexpr int KEYS = 64;          // keys of a stage
constexpr int PAD = 8;            // elements: consecutive rows begin in other banks

namespace {

struct Problem {
    const bf16* queries;
    const bf16* keys;
    const bf16* values;
    const unsigned* spans;
    const float* bias;
    const unsigned* query_positions;
    const unsigned* key_positions;
    bf16* out;
    int beams, heads, groups, distances;
    float scale;
};

// Starts to copy KEYS rows from `first` on; rows at or past `end` become zeros.
template <int WIDTH>
__device__ __forceinline__ void fetch(bf16* to, const bf16* rows, int groups, unsigned first, unsigned end) {
    constexpr int CHUNKS = WIDTH / 8;
    for (int i = threadIdx.x; i < KEYS * CHUNKS; i += 32 * WARPS) {
        const int key = i / CHUNKS, at = i % CHUNKS * 8;
        const bool here = first + key < end;
        const size_t row = (static_cast<size_t>(here ? first + key : first) * groups + blockIdx.y) * WIDTH;
        cp_async_16(to + key * (WIDTH + PAD) + at, rows + row + at, here);
    }
}

// scores += q . k^T: 16 rows by KEYS.
template <int WIDTH>
__device__ __forceinline__ void score(float (&scores)[KEYS / 8][4], const unsigned (&q)[WIDTH / 16][4],
                                      const bf16* keys) {
    const int lane = threadIdx.x % 32;
    const bf16* from = keys + (lane / 16 * 8 + lane % 8) * (WIDTH + PAD) + lane / 8 % 2 * 8;
#pragma unroll
    for (int step = 0; step < WIDTH / 16; step++) {
#pragma unroll
        for (int pair = 0; pair < KEYS / 16; pair++) {
            unsigned k[4];
            ldmatrix_x4(k, from + pair * 16 * (WIDTH + PAD) + step * 16);
            mma_bf16_m16n8k16(scores[2 * pair], q[step], k[0], k[1]);
            mma_bf16_m16n8k16(scores[2 * pair + 1], q[step], k[2], k[3]);
        }
    }
}

// sums += p . v: 16 rows by WIDTH.
template <int WIDTH>
__device__ __forceinline__ void mix(float (&sums)[WIDTH / 8][4], const float (&p)[KEYS / 8][4], const bf16* values) {
    const int lane = threadIdx.x % 32;
    const bf16* from = values + (lane / 8 % 2 * 8 + lane % 8) * (WIDTH + PAD) + lane / 16 * 8;
#pragma unroll
    for (int step = 0; step < KEYS / 16; step++) {
        const float (&left)[4] = p[2 * step], (&right)[4] = p[2 * step + 1];
        const unsigned a[4] = {to_bf16x2(left[0], left[1]), to_bf16x2(left[2], left[3]), to_bf16x2(right[0], right[1]),
                               to_bf16x2(right[2], right[3])};
#pragma unroll
        for (int pair = 0; pair < WIDTH / 16; pair++) {
            unsigned v[4];
            ldmatrix_x4_transposed(v, from + step * 16 * (WIDTH + PAD) + pair * 16);
            mma_bf16_m16n8k16(sums[2 * pair], a, v[0], v[1]);
            mma_bf16_m16n8k16(sums[2 * pair + 1], a, v[2], v[3]);
        }
    }
}

// The largest, or the sum, over the four lanes that share a row.
__device__ __forceinline__ float row_max(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 2));
}

__device__ __forceinline__ float row_sum(float x) {
    x = __fadd_rn(x, __shfl_xor_sync(0xFFFFFFFFu, x, 1));
    return __fadd_rn(x, __shfl_xor_sync(0xFFFFFFFFu, x, 2));
}

// Products become scores: scaled, with the bias of their distance; -infinity past the end of the span.
__device__ __forceinline__ void finish_scores(float (&scores)[KEYS / 8][4], const Problem& problem,
                                              const float* const (&bias)[2], unsigned query_position, unsigned first,
                                              unsigned end) {
#pragma unroll
    for (int i = 0; i < KEYS / 8 * 2; i++) {
        const unsigned key = first + i / 2 * 8 + threadIdx.x % 4 * 2 + i % 2;
        const bool here = key < end;
        unsigned distance = 0;
        if (problem.bias && here) {
            const unsigned position = problem.key_positions[key];
            distance = query_position > position ? query_position - position : 0;
            distance = min(distance, static_cast<unsigned>(problem.distances - 1));
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float& x = scores[i / 2][2 * half + i % 2];
            x = __fmul_rn(x, problem.scale);
            if (problem.bias) x = __fadd_rn(x, bias[half][distance]);
            if (!here) x = -infinite();
        }
    }
}

template <int WIDTH>
__device__ __forceinline__ void attend(const Problem& problem, bf16* memory) {
    constexpr int STAGE = KEYS * (WIDTH + PAD);
    const int own = problem.heads / problem.groups, rows = problem.beams * own, request = blockIdx.z;
    const int lane = threadIdx.x % 32;
    const int first_row = blockIdx.x * ROWS + threadIdx.x / 32 * 16 + lane / 4;
    const unsigned start = problem.spans[2 * request], end = problem.spans[2 * request + 1];
    const bool shared_values = problem.keys == problem.values;
    const auto fetch_stage = [&](unsigned first, int stage) {
        bf16* to = memory + stage * 2 * STAGE;
        fetch<WIDTH>(to, problem.keys, problem.groups, first, end);
        if (!shared_values) fetch<WIDTH>(to + STAGE, problem.values, problem.groups, first, end);
    };

    // The two folded rows of this thread: where they lie, their queries, their biases.
    size_t at[2];
    const float* bias[2];
    unsigned q[WIDTH / 16][4];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int row = first_row + 8 * half, known = min(row, rows - 1);
        const int beam = known / own, head = blockIdx.y * own + known % own;
        at[half] = ((static_cast<size_t>(request) * problem.beams + beam) * problem.heads + head) * WIDTH;
        bias[half] = problem.bias + static_cast<size_t>(head) * problem.distances;
        const unsigned* pairs = reinterpret_cast<const unsigned*>(problem.queries + at[half]);
#pragma unroll
        for (int step = 0; step < WIDTH / 16; step++) {
            q[step][half] = pairs[step * 8 + lane % 4];
            q[step][half + 2] = pairs[step * 8 + lane % 4 + 4];
        }
    }
    const unsigned query_position = problem.bias ? problem.query_positions[request] : 0;

    float sums[WIDTH / 8][4] = {}, top[2] = {-infinite(), -infinite()}, total[2] = {};
    if (start < end) fetch_stage(start, 0);
    cp_async_commit();
    int stage = 0;
    for (unsigned first = start; first < end; first += KEYS, stage ^= 1) {
        if (end - first > KEYS) fetch_stage(first + KEYS, stage ^ 1);
        cp_async_commit();
        cp_async_wait<1>();
        __syncthreads();
        float scores[KEYS / 8][4] = {};
        const bf16* keys = memory + stage * 2 * STAGE;
        score<WIDTH>(scores, q, keys);
        finish_scores(scores, problem, bias, query_position, first, end);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float higher = top[half];
#pragma unroll
            for (int i = 0; i < KEYS / 8; i++) {
                higher = fmaxf(higher, fmaxf(scores[i][2 * half], scores[i][2 * half + 1]));
            }
            higher = row_max(higher);
            // Scores may all be -infinity so far: nothing is subtracted then.
            const float base = higher == -infinite() ? 0.0f : higher;
            const float shrink = exp_shared(__fsub_rn(top[half], base));
            top[half] = higher;
            total[half] = __fmul_rn(total[half], shrink);
#pragma unroll
            for (int i = 0; i < KEYS / 8; i++) {
#pragma unroll
                for (int j = 2 * half; j < 2 * half + 2; j++) {
                    scores[i][j] = exp_shared(__fsub_rn(scores[i][j], base));
                    total[half] = __fadd_rn(total[half], scores[i][j]);
                }
            }
#pragma unroll
            for (int i = 0; i < WIDTH / 8; i++) {
                sums[i][2 * half] = __fmul_rn(sums[i][2 * half], shrink);
                sums[i][2 * half + 1] = __fmul_rn(sums[i][2 * half + 1], shrink);
            }
        }
        mix<WIDTH>(sums, scores, keys + (shared_values ? 0 : STAGE));
        // The next round fetches into this stage.
        __syncthreads();
    }

#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float whole = row_sum(total[half]);
        const float share = start < end ? __fdiv_rn(1.0f, whole) : 0.0f;
        if (first_row + 8 * half >= rows) continue;
        unsigned* pairs = reinterpret_cast<unsigned*>(problem.out + at[half]);
#pragma unroll
        for (int i = 0; i < WIDTH / 8; i++) {
            pairs[i * 4 + lane % 4] =
                to_bf16x2(__fmul_rn(sums[i][2 * half], share), __fmul_rn(sums[i][2 * half + 1], share));
        }
    }
}

}  // namespace

#define CROSS_ATTENTION(WIDTH)                                                                                      \
    extern "C" __global__ void __launch_bounds__(32 * WARPS) cross_attention_##WIDTH(                               \
        const bf16* __restrict__ queries, const bf16* keys, const bf16* values, const unsigned* __restrict__ spans, \
        const float* __restrict__ bias, const unsigned* __restrict__ query_positions,                               \
        const unsigned* __restrict__ key_positions, bf16* __restrict__ out, int beams, int heads, int groups,       \
        int distances, float scale) {                                                                               \
        extern __shared__ uint4 shared_memory[];                                                                    \
        const Problem problem{queries, keys,  values, spans,     bias, query_positions, key_positions, out,         \
                              beams,   heads, groups, distances, scale};                                            \
        attend<WIDTH>(problem, reinterpret_cast<bf16*>(shared_memory));                                             \
    }

CROSS_ATTENTION(64)
CROSS_ATTENTION(128)
