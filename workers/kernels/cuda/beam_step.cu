// One step of the beam search over the trie: log-softmax, mask and the best k, without sorting the candidates.
//
// In: logits of every beam over the codebook, the trie's level below, nodes and scores of the beams. Out: the best k
// children, best first. The semantics of the CPU's search: only existing, alive children are candidates; a score is
// beam + (logit - ln sum exp), the sum over the codebook or, renormalised, over the existing children (dead ones
// included); equal scores come by label, the smaller first. The order on (score, label) is total, so the
// answer depends on nothing else. A candidate whose score is not a number is dropped and sets bit 0 of *status. Every
// beam is scored, so that it is seen wherever it stands. Ties by a seeded hash, which only evaluation asks for, are the
// CPU's.
//
// Entry beam_score
//   (const float* logits [requests, beams, codes], const unsigned* child_offsets [nodes of this depth + 1],
//    const unsigned* child_codes [nodes of the next depth], const unsigned* labels, const unsigned* alive,
//    const unsigned* nodes [requests, beams], const float* scores [requests, beams],
//    unsigned long long* keys [requests, capacity], unsigned* slots [requests, beams + 1], unsigned* status,
//    int beams, int codes, unsigned capacity, unsigned label_stride, unsigned alive_stride, int renormalise)
//   Children of node i are nodes child_offsets[i] .. child_offsets[i + 1] of the next depth. A beam whose node is
//   0xFFFFFFFF is empty. labels (null: a node is its own label): word `node` of labels + request * label_stride;
//   0xFFFFFFFF takes the node away. At the last depth a label is the first item of the leaf that may be answered.
//   alive (null: all): bit `node % 32` of word `node / 32` of alive + request * alive_stride.
//   capacity >= the children of all beams of a request: min(beams * codes, nodes of the next depth) is enough when
//   beams are distinct; where it is too small, the rest is dropped and bit 1 of *status is set.
//   Grid: (beams, requests, 1). Block: 256. Dynamic shared memory: 0.
//
// Entry beam_select
//   (const unsigned long long* keys, const unsigned* slots, const unsigned* child_offsets, const unsigned* child_codes,
//    const unsigned* nodes, unsigned* out_parents [requests, k], unsigned* out_codes [requests, k],
//    unsigned* out_nodes [requests, k], float* out_scores [requests, k], unsigned* out_counts [requests],
//    int beams, int k, unsigned capacity)
//   A parent is a row of the whole batch: request * beams + beam. Rows past the count: parent request * beams, code 0,
//   node 0xFFFFFFFF, score -infinity. 1 <= k <= 1024, beams <= 1024.
//   Grid: (requests, 1, 1). Block: 1024. Dynamic shared memory: 0. One block reads all keys of a request: with many
//   candidates (a few ten thousand) the two entries below spread the reading and give the same answer.
//
// Entry beam_narrow: the best k of every part of the candidates
//   (const unsigned long long* keys, const unsigned* slots, unsigned long long* part_keys [requests, parts, k],
//    unsigned* part_places [requests, parts, k], int beams, int k, unsigned capacity)
//   Grid: (parts, requests, 1), any number of parts. Block: 1024. Dynamic shared memory: 0.
//
// Entry beam_select_parts: as beam_select, from what beam_narrow left
//   (const unsigned long long* part_keys, const unsigned* part_places, const unsigned* slots, then as beam_select from
//    child_offsets to k, then unsigned parts)
//   Grid, block: as beam_select.
#include "arithmetic.cuh"
#include "select.cuh"

constexpr unsigned NONE = 0xFFFFFFFFu;
constexpr int SCORE_THREADS = 256;

namespace {

struct Sum {
    __device__ __forceinline__ unsigned operator()(unsigned a, unsigned b) const { return a + b; }
    __device__ __forceinline__ float operator()(float a, float b) const { return __fadd_rn(a, b); }
};

struct Larger {
    __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

// The sum, or the largest, of one value a thread, the same for every thread: over a fixed tree.
template <typename T, typename Merge>
__device__ __forceinline__ T merge_block(T value, T* words, Merge merge) {
#pragma unroll
    for (int half = 16; half > 0; half /= 2) value = merge(value, __shfl_xor_sync(0xFFFFFFFFu, value, half));
    if (threadIdx.x % 32 == 0) words[threadIdx.x / 32] = value;
    __syncthreads();
    T all = words[0];
#pragma unroll
    for (int warp = 1; warp < SCORE_THREADS / 32; warp++) all = merge(all, words[warp]);
    __syncthreads();
    return all;
}

__device__ __forceinline__ unsigned children_of(const unsigned* child_offsets, unsigned node) {
    return node == NONE ? 0u : child_offsets[node + 1] - child_offsets[node];
}

// The beams of a level; a block of selection has the request of its index.
struct Beams {
    const unsigned* slots;
    const unsigned* child_offsets;
    const unsigned* child_codes;
    const unsigned* nodes;
    int beams;

    __device__ __forceinline__ size_t first() const { return static_cast<size_t>(blockIdx.x) * beams; }
    __device__ __forceinline__ const unsigned* own_slots() const { return slots + first() + blockIdx.x; }
};

struct NextBeams {
    unsigned* parents;
    unsigned* codes;
    unsigned* nodes;
    float* scores;
    unsigned* counts;
    int k;
};

// Thread i writes the i-th best beam, whose candidate stood at `place`.
__device__ __forceinline__ void write_beam(const Beams& in, const NextBeams& out, const Selection& selection,
                                           unsigned found, unsigned place) {
    if (threadIdx.x == 0) out.counts[blockIdx.x] = found;
    if (static_cast<int>(threadIdx.x) >= out.k) return;
    const size_t to = static_cast<size_t>(blockIdx.x) * out.k + threadIdx.x;
    if (threadIdx.x >= found) {
        out.parents[to] = static_cast<unsigned>(in.first());
        out.codes[to] = 0;
        out.nodes[to] = NONE;
        out.scores[to] = -infinite();
        return;
    }
    // The last beam whose candidates begin at or before the place; empty beams begin where the next one does.
    const unsigned* slots = in.own_slots();
    int low = 0, high = in.beams - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (slots[middle] <= place) low = middle;
        else high = middle - 1;
    }
    const unsigned child = in.child_offsets[in.nodes[in.first() + low]] + (place - slots[low]);
    out.parents[to] = static_cast<unsigned>(in.first() + low);
    out.codes[to] = in.child_codes[child];
    out.nodes[to] = child;
    out.scores[to] = score_of(selection.keys[threadIdx.x]);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(SCORE_THREADS)
    beam_score(const float* __restrict__ logits, const unsigned* __restrict__ child_offsets,
               const unsigned* __restrict__ child_codes, const unsigned* __restrict__ labels,
               const unsigned* __restrict__ alive, const unsigned* __restrict__ nodes, const float* __restrict__ scores,
               unsigned long long* __restrict__ keys, unsigned* __restrict__ slots, unsigned* __restrict__ status,
               int beams, int codes, unsigned capacity, unsigned label_stride, unsigned alive_stride, int renormalise) {
    __shared__ unsigned counts[SCORE_THREADS / 32];
    __shared__ float parts[SCORE_THREADS / 32];
    const int beam = blockIdx.x, request = blockIdx.y;
    const size_t first = static_cast<size_t>(request) * beams;
    // Where this beam's candidates begin: behind those of the beams before it.
    unsigned before = 0;
    for (int i = threadIdx.x; i < beam; i += SCORE_THREADS) before += children_of(child_offsets, nodes[first + i]);
    before = merge_block(before, counts, Sum{});
    const unsigned node = nodes[first + beam];
    const unsigned children = children_of(child_offsets, node);
    if (threadIdx.x == 0) {
        unsigned* own = slots + static_cast<size_t>(request) * (beams + 1);
        own[beam] = before;
        if (beam == beams - 1) own[beams] = before + children;
        if (before + children > capacity) atomicOr(status, 2u);
    }
    if (children == 0) return;
    const unsigned start = child_offsets[node];
    const float* row = logits + (first + beam) * codes;
    const unsigned summed = renormalise ? children : static_cast<unsigned>(codes);
    const auto logit = [&](unsigned i) { return row[renormalise ? child_codes[start + i] : i]; };
    float top = -infinite();
    for (unsigned i = threadIdx.x; i < summed; i += SCORE_THREADS) top = fmaxf(top, logit(i));
    top = merge_block(top, parts, Larger{});
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < summed; i += SCORE_THREADS) {
        sum = __fadd_rn(sum, exp_shared(__fsub_rn(logit(i), top)));
    }
    sum = merge_block(sum, parts, Sum{});
    const float total = __fadd_rn(top, logf(sum));
    unsigned long long* to = keys + static_cast<size_t>(request) * capacity;
    for (unsigned i = threadIdx.x; i < children && before + i < capacity; i += SCORE_THREADS) {
        const unsigned child = start + i;
        const unsigned label = labels ? labels[static_cast<size_t>(request) * label_stride + child] : child;
        const unsigned* mask = alive + static_cast<size_t>(request) * alive_stride;
        const bool candidate = (!labels || label != NONE) && (!alive || (mask[child / 32] >> (child % 32) & 1u));
        unsigned long long key = 0;
        if (candidate) {
            const float score = __fadd_rn(scores[first + beam], __fsub_rn(row[child_codes[child]], total));
            key = order_key(score, label);
            if (key == 0) atomicOr(status, 1u);
        }
        to[before + i] = key;
    }
}

extern "C" __global__ void __launch_bounds__(SELECT_THREADS)
    beam_narrow(const unsigned long long* __restrict__ keys, const unsigned* __restrict__ slots,
                unsigned long long* __restrict__ part_keys, unsigned* __restrict__ part_places, int beams, int k,
                unsigned capacity) {
    __shared__ Selection selection;
    const unsigned request = blockIdx.y, part = blockIdx.x, parts = gridDim.x;
    const unsigned candidates = min(slots[static_cast<size_t>(request) * (beams + 1) + beams], capacity);
    const unsigned width = (candidates + parts - 1) / parts, first = min(part * width, candidates);
    const unsigned long long* from = keys + static_cast<size_t>(request) * capacity + first;
    const unsigned found =
        select_best(selection, [&](unsigned i) { return from[i]; }, min(width, candidates - first), k);
    if (static_cast<int>(threadIdx.x) >= k) return;
    const size_t to = (static_cast<size_t>(request) * parts + part) * k + threadIdx.x;
    part_keys[to] = threadIdx.x < found ? selection.keys[threadIdx.x] : 0;
    part_places[to] = threadIdx.x < found ? first + selection.places[threadIdx.x] : 0;
}

extern "C" __global__ void __launch_bounds__(SELECT_THREADS)
    beam_select(const unsigned long long* __restrict__ keys, const unsigned* __restrict__ slots,
                const unsigned* __restrict__ child_offsets, const unsigned* __restrict__ child_codes,
                const unsigned* __restrict__ nodes, unsigned* __restrict__ out_parents,
                unsigned* __restrict__ out_codes, unsigned* __restrict__ out_nodes, float* __restrict__ out_scores,
                unsigned* __restrict__ out_counts, int beams, int k, unsigned capacity) {
    __shared__ Selection selection;
    const Beams in{slots, child_offsets, child_codes, nodes, beams};
    const NextBeams out{out_parents, out_codes, out_nodes, out_scores, out_counts, k};
    const unsigned long long* from = keys + static_cast<size_t>(blockIdx.x) * capacity;
    const unsigned candidates = min(in.own_slots()[beams], capacity);
    const unsigned found = select_best(selection, [&](unsigned i) { return from[i]; }, candidates, k);
    const unsigned place = threadIdx.x < found ? selection.places[threadIdx.x] : 0;
    write_beam(in, out, selection, found, place);
}

extern "C" __global__ void __launch_bounds__(SELECT_THREADS)
    beam_select_parts(const unsigned long long* __restrict__ part_keys, const unsigned* __restrict__ part_places,
                      const unsigned* __restrict__ slots, const unsigned* __restrict__ child_offsets,
                      const unsigned* __restrict__ child_codes, const unsigned* __restrict__ nodes,
                      unsigned* __restrict__ out_parents, unsigned* __restrict__ out_codes,
                      unsigned* __restrict__ out_nodes, float* __restrict__ out_scores,
                      unsigned* __restrict__ out_counts, int beams, int k, unsigned parts) {
    __shared__ Selection selection;
    const Beams in{slots, child_offsets, child_codes, nodes, beams};
    const NextBeams out{out_parents, out_codes, out_nodes, out_scores, out_counts, k};
    const size_t first = static_cast<size_t>(blockIdx.x) * parts * k;
    const unsigned long long* from = part_keys + first;
    const unsigned found = select_best(selection, [&](unsigned i) { return from[i]; }, parts * k, k);
    const unsigned place = threadIdx.x < found ? part_places[first + selection.places[threadIdx.x]] : 0;
    write_beam(in, out, selection, found, place);
}
