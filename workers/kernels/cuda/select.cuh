// The best k of many, k at most 1024, without sorting the many: radix selection on 64-bit keys, then a sort of the k.
//
// In: keys that order as (score down, label up) and are distinct; zero is no candidate. Out: the k largest, largest
// first, with their places. A set is chosen by value, so the answer does not depend on the order of threads.
//
//   count the digits of what is left => (the k-th key's digit => only keys with it stay) => collect => sort
#pragma once

#include "ptx.cuh"

constexpr int SELECT_THREADS = 1024;
constexpr int MOST_SELECTED = 1024;
constexpr int DIGITS = 256;

// What a block holds while it selects; afterwards the first `found` of keys and places are the answer.
struct Selection {
    unsigned long long keys[MOST_SELECTED];
    unsigned places[MOST_SELECTED];
    unsigned histogram[DIGITS];
    unsigned digit, needed, counted, found;
};

// Larger scores have larger keys, of equal scores the smaller label has; both zeros are equal. Zero: not a number.
__device__ __forceinline__ unsigned long long order_key(float score, unsigned label) {
    if (score != score) return 0;
    const unsigned bits = __float_as_uint(__fadd_rn(score, 0.0f));
    const unsigned ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
    return static_cast<unsigned long long>(ordered) << 32 | static_cast<unsigned>(~label);
}

__device__ __forceinline__ float score_of(unsigned long long key) {
    const unsigned ordered = static_cast<unsigned>(key >> 32);
    return __uint_as_float(ordered >> 31 ? ordered & 0x7FFFFFFFu : ~ordered);
}

__device__ __forceinline__ unsigned label_of(unsigned long long key) { return ~static_cast<unsigned>(key); }

// One warp: the digit at which the counts, added up from the largest digit, reach `needed`. What lies above it is taken
// off `needed`. Sets `digit` and `counted` (how many keys have it); where all keys are too few, `counted` is 0.
__device__ __forceinline__ void find_digit(Selection& selection) {
    constexpr unsigned OWN = DIGITS / 32;
    const unsigned lane = threadIdx.x, needed = selection.needed;
    unsigned own = 0;
#pragma unroll
    for (unsigned i = 0; i < OWN; i++) own += selection.histogram[DIGITS - 1 - (lane * OWN + i)];
    unsigned through = own;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
        const unsigned other = __shfl_up_sync(0xFFFFFFFFu, through, step);
        if (static_cast<int>(lane) >= step) through += other;
    }
    unsigned above = through - own;
    if (lane == 31 && through < needed) selection.counted = 0;
    if (above >= needed || through < needed) return;
    for (unsigned i = 0; i < OWN; i++) {
        const unsigned digit = DIGITS - 1 - (lane * OWN + i), count = selection.histogram[digit];
        if (above + count >= needed) {
            selection.digit = digit;
            selection.counted = count;
            selection.needed = needed - above;
            return;
        }
        above += count;
    }
}

// Sorts the first `size` (a power of two) keys with their places, largest first.
__device__ __forceinline__ void sort_down(Selection& selection, unsigned size) {
    for (unsigned run = 2; run <= size; run *= 2) {
        for (unsigned apart = run / 2; apart > 0; apart /= 2) {
            const unsigned i = threadIdx.x, j = i ^ apart;
            if (i < size && j > i) {
                const unsigned long long left = selection.keys[i], right = selection.keys[j];
                const bool down = (i & run) == 0;
                if (down ? left < right : left > right) {
                    selection.keys[i] = right;
                    selection.keys[j] = left;
                    const unsigned place = selection.places[i];
                    selection.places[i] = selection.places[j];
                    selection.places[j] = place;
                }
            }
            __syncthreads();
        }
    }
}

// Fills `selection` with the best k of load(0) .. load(count - 1); gives how many there are. All 1024 threads call it
// with the same count and k; `load` may be asked for a place several times.
template <typename Load>
__device__ __forceinline__ unsigned select_best(Selection& selection, Load load, unsigned count, unsigned k) {
    unsigned long long prefix = 0, mask = 0;
    if (threadIdx.x == 0) selection.needed = k;
    for (int shift = 56; shift >= 0; shift -= 8) {
        if (threadIdx.x < DIGITS) selection.histogram[threadIdx.x] = 0;
        __syncthreads();
        for (unsigned i = threadIdx.x; i < count; i += SELECT_THREADS) {
            const unsigned long long key = load(i);
            if (key != 0 && (key & mask) == prefix) atomicAdd(&selection.histogram[key >> shift & (DIGITS - 1)], 1u);
        }
        __syncthreads();
        if (threadIdx.x < 32) find_digit(selection);
        __syncthreads();
        const unsigned counted = selection.counted;
        if (counted == 0) break;  // fewer than k altogether: every candidate
        prefix |= static_cast<unsigned long long>(selection.digit) << shift;
        mask |= static_cast<unsigned long long>(DIGITS - 1) << shift;
        if (counted == selection.needed) break;  // the whole of this digit
    }
    if (threadIdx.x == 0) selection.found = 0;
    __syncthreads();
    for (unsigned i = threadIdx.x; i < count; i += SELECT_THREADS) {
        const unsigned long long key = load(i);
        if (key == 0 || key < prefix) continue;
        const unsigned at = atomicAdd(&selection.found, 1u);
        if (at >= MOST_SELECTED) continue;
        selection.keys[at] = key;
        selection.places[at] = i;
    }
    __syncthreads();
    const unsigned found = min(selection.found, k);
    unsigned size = 2;
    while (size < found) size *= 2;
    if (threadIdx.x >= found && threadIdx.x < size) selection.keys[threadIdx.x] = 0;
    __syncthreads();
    sort_down(selection, size);
    return found;
}
