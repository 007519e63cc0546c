// What CUDA C++ has and C++17 has not, so that g++ compiles the kernels as they are.
//
// In: a .cu file. Out: its kernels as plain functions that `launch` runs, block after block, every thread a fibre. This
// is evidence of a kernel's logic: indexing, masks, barriers, layouts. It says nothing of speed, and it shows what the
// documentation says hardware does, not what hardware does.
#pragma once

#define KERNEL_EMULATOR 1

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "fibres.hpp"

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
// Blocks run one after another in one thread: its thread-local storage is the shared memory of a block.
#define __shared__ thread_local

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
using std::size_t;

inline float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, 4);
    return x;
}

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }

// Only one fibre runs at a time.
inline unsigned atomicAdd(unsigned* to, unsigned x) {
    const unsigned old = *to;
    *to = old + x;
    return old;
}
inline unsigned atomicOr(unsigned* to, unsigned x) {
    const unsigned old = *to;
    *to = old | x;
    return old;
}

inline void __syncthreads() { emulator::block_barrier(); }
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu) { emulator::exchange(mask, 0, "__syncwarp"); }

template <typename T, typename From>
T emulated_shuffle(unsigned mask, T value, const char* what, From from) {
    static_assert(sizeof(T) <= 8);
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(T));
    const std::uint64_t* all = emulator::exchange(mask, bits, what);
    const int lane = threadIdx.x % 32, source = from(lane);
    const bool there = source >= 0 && source < 32;
    if (there && !(mask >> source & 1)) emulator::fail("%s reads a lane outside its mask", what);
    T got;
    std::memcpy(&got, &all[there ? source : lane], sizeof(T));
    return got;
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, int by) {
    return emulated_shuffle(mask, value, "__shfl_down_sync", [&](int lane) { return lane + by; });
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int by) {
    return emulated_shuffle(mask, value, "__shfl_up_sync", [&](int lane) { return lane - by; });
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int by) {
    return emulated_shuffle(mask, value, "__shfl_xor_sync", [&](int lane) { return lane ^ by; });
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int lane) {
    return emulated_shuffle(mask, value, "__shfl_sync", [&](int) { return lane; });
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value) {
    const std::uint64_t* all = emulator::exchange(mask, value, "__reduce_max_sync");
    unsigned most = 0;
    for (int lane = 0; lane < 32; lane++) {
        if (mask >> lane & 1) most = max(most, static_cast<unsigned>(all[lane]));
    }
    return most;
}
inline unsigned __ballot_sync(unsigned mask, bool yes) {
    const std::uint64_t* all = emulator::exchange(mask, yes, "__ballot_sync");
    unsigned votes = 0;
    for (int lane = 0; lane < 32; lane++) votes |= (mask >> lane & 1 && all[lane] ? 1u : 0u) << lane;
    return votes;
}
