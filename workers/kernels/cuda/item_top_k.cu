// Inner-product top-k over an item table in FP8, then an exact second look at the best.
//
// In: queries in f32, the table as E4M3 codes with a scale a row and again in f32. Out: the k best items a query, best
// first, with f32 products; equal products come by item number, the smaller first. An item whose product is not a
// number is dropped and sets bit 0 of *status.
//
// Entry item_scan: the best `kept` items of every chunk of 4096, by code products
//   (const float* queries [queries, dim], const unsigned char* codes [items, dim], const float* scales [items],
//    const unsigned* allowed, unsigned long long* keys [queries, chunks, kept], unsigned* status,
//    int queries, unsigned items, int dim, int kept, unsigned allowed_stride)
//   allowed (null: all): bit `item % 32` of word `item / 32` of allowed + query * allowed_stride. 1 <= kept <= 1024.
//   Grid: (chunks = ceil(items / 4096), ceil(queries / 4), 1). Block: 1024.
//   Dynamic shared memory: 65536 + 16 * dim bytes. Alignment: codes 4 bytes; dim a multiple of 4.
//
// Entry item_rerank: the best `kept` over all chunks, scored again in f32, the best k of them
//   (const float* queries, const float* table [items, dim], const unsigned long long* keys,
//    unsigned* out_items [queries, k], float* out_scores [queries, k], unsigned* out_counts [queries],
//    unsigned* status, int dim, unsigned chunks, int kept, int k)
//   1 <= k <= kept. Rows past the count: item 0xFFFFFFFF, score -infinity.
//   Grid: (queries, 1, 1). Block: 1024. Dynamic shared memory: 0.
// An item is found when its code product is among the best `kept`: k' > k buys recall, the answer's scores are exact.
#include "arithmetic.cuh"
#include "select.cuh"

constexpr unsigned CHUNK = 4096;
constexpr int QUERIES = 4;

extern "C" __global__ void __launch_bounds__(SELECT_THREADS)
    item_scan(const float* __restrict__ queries, const unsigned char* __restrict__ codes,
              const float* __restrict__ scales, const unsigned* __restrict__ allowed,
              unsigned long long* __restrict__ keys, unsigned* __restrict__ status, int query_count, unsigned items,
              int dim, int kept, unsigned allowed_stride) {
    extern __shared__ float4 shared_memory[];
    __shared__ Selection selection;
    float* products = reinterpret_cast<float*>(shared_memory);  // [QUERIES, CHUNK]
    float* held = products + QUERIES * CHUNK;                   // [QUERIES, dim]
    const int first_query = blockIdx.y * QUERIES, here = min(QUERIES, query_count - first_query);
    const unsigned first = blockIdx.x * CHUNK, count = min(CHUNK, items - first);
    for (int i = threadIdx.x; i < QUERIES * dim; i += SELECT_THREADS) {
        held[i] = i < here * dim ? queries[static_cast<size_t>(first_query) * dim + i] : 0.0f;
    }
    __syncthreads();
    const unsigned lane = threadIdx.x % 32;
    for (unsigned at = threadIdx.x / 32; at < count; at += SELECT_THREADS / 32) {
        const unsigned* row = reinterpret_cast<const unsigned*>(codes + static_cast<size_t>(first + at) * dim);
        float sum[QUERIES] = {};
        for (int word = lane; word < dim / 4; word += 32) {
            float x[4];
            decode_e4m3x4(row[word], x);
#pragma unroll
            for (int q = 0; q < QUERIES; q++) {
                const float4 y = reinterpret_cast<const float4*>(held + q * dim)[word];
                sum[q] = __fmaf_rn(y.x, x[0], sum[q]);
                sum[q] = __fmaf_rn(y.y, x[1], sum[q]);
                sum[q] = __fmaf_rn(y.z, x[2], sum[q]);
                sum[q] = __fmaf_rn(y.w, x[3], sum[q]);
            }
        }
#pragma unroll
        for (int q = 0; q < QUERIES; q++) {
#pragma unroll
            for (int half = 16; half > 0; half /= 2) {
                sum[q] = __fadd_rn(sum[q], __shfl_xor_sync(0xFFFFFFFFu, sum[q], half));
            }
        }
        if (lane == 0) {
            const float scale = scales[first + at];
#pragma unroll
            for (int q = 0; q < QUERIES; q++) products[q * CHUNK + at] = __fmul_rn(sum[q], scale);
        }
    }
    __syncthreads();
    for (int q = 0; q < here; q++) {
        const unsigned* mask = allowed + static_cast<size_t>(first_query + q) * allowed_stride;
        const auto key = [&](unsigned i) -> unsigned long long {
            const unsigned item = first + i;
            if (allowed && !(mask[item / 32] >> (item % 32) & 1u)) return 0;
            return order_key(products[q * CHUNK + i], item);
        };
        for (unsigned i = threadIdx.x; i < count; i += SELECT_THREADS) {
            const unsigned item = first + i;
            const bool wanted = !allowed || (mask[item / 32] >> (item % 32) & 1u);
            if (wanted && key(i) == 0) atomicOr(status, 1u);
        }
        const unsigned found = select_best(selection, key, count, kept);
        unsigned long long* to = keys + (static_cast<size_t>(first_query + q) * gridDim.x + blockIdx.x) * kept;
        if (static_cast<int>(threadIdx.x) < kept)
            to[threadIdx.x] = threadIdx.x < found ? selection.keys[threadIdx.x] : 0;
        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(SELECT_THREADS)
    item_rerank(const float* __restrict__ queries, const float* __restrict__ table,
                const unsigned long long* __restrict__ keys, unsigned* __restrict__ out_items,
                float* __restrict__ out_scores, unsigned* __restrict__ out_counts, unsigned* __restrict__ status,
                int dim, unsigned chunks, int kept, int k) {
    __shared__ Selection selection;
    __shared__ unsigned long long exact[MOST_SELECTED];
    const unsigned long long* from = keys + static_cast<size_t>(blockIdx.x) * chunks * kept;
    const unsigned found = select_best(selection, [&](unsigned i) { return from[i]; }, chunks * kept, kept);
    const float* query = queries + static_cast<size_t>(blockIdx.x) * dim;
    for (unsigned at = threadIdx.x / 32; at < found; at += SELECT_THREADS / 32) {
        const unsigned item = label_of(selection.keys[at]);
        const float* row = table + static_cast<size_t>(item) * dim;
        float sum = 0.0f;
        for (int i = threadIdx.x % 32; i < dim; i += 32) sum = __fmaf_rn(query[i], row[i], sum);
#pragma unroll
        for (int half = 16; half > 0; half /= 2) sum = __fadd_rn(sum, __shfl_xor_sync(0xFFFFFFFFu, sum, half));
        if (threadIdx.x % 32 == 0) {
            exact[at] = order_key(sum, item);
            if (exact[at] == 0) atomicOr(status, 1u);
        }
    }
    __syncthreads();
    const unsigned best = select_best(selection, [&](unsigned i) { return exact[i]; }, found, k);
    if (threadIdx.x == 0) out_counts[blockIdx.x] = best;
    if (static_cast<int>(threadIdx.x) >= k) return;
    const size_t to = static_cast<size_t>(blockIdx.x) * k + threadIdx.x;
    const bool is = threadIdx.x < best;
    out_items[to] = is ? label_of(selection.keys[threadIdx.x]) : 0xFFFFFFFFu;
    out_scores[to] = is ? score_of(selection.keys[threadIdx.x]) : -infinite();
}
