// Every machine instruction that the kernels name themselves, one small function each, and nothing else.
//
// In: operands. Out: what the instruction gives (PTX ISA 8.8, sections named where layouts matter). No other file here
// holds inline assembly, so that the emulator stands in for this one file and compiles all others as they are.
#pragma once

using bf16 = unsigned short;

// A CUtensorMap: made by the host's driver call, read by hardware only.
struct alignas(64) TensorMap {
    unsigned long long words[16];
};

__device__ __forceinline__ float from_bf16(bf16 x) { return __uint_as_float(static_cast<unsigned>(x) << 16); }

#ifdef KERNEL_EMULATOR
#include "emulator/ptx.hpp"
#else

// Two f32 as bf16, nearest even; `low` in the lower half.
__device__ __forceinline__ unsigned to_bf16x2(float low, float high) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

// One E4M3 code, nearest even, saturating; NaN is 0x7F.
__device__ __forceinline__ unsigned char encode_e4m3(float x) {
    unsigned short pair;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(0.0f), "f"(x));
    return static_cast<unsigned char>(pair & 0xFF);
}

// Four E4M3 codes, lowest byte first; exact.
__device__ __forceinline__ void decode_e4m3x4(unsigned codes, float (&x)[4]) {
    asm("{\n"
        ".reg .b16 low, high, h0, h1, h2, h3;\n"
        ".reg .b32 pair0, pair1;\n"
        "mov.b32 {low, high}, %4;\n"
        "cvt.rn.f16x2.e4m3x2 pair0, low;\n"
        "cvt.rn.f16x2.e4m3x2 pair1, high;\n"
        "mov.b32 {h0, h1}, pair0;\n"
        "mov.b32 {h2, h3}, pair1;\n"
        "cvt.f32.f16 %0, h0;\n"
        "cvt.f32.f16 %1, h1;\n"
        "cvt.f32.f16 %2, h2;\n"
        "cvt.f32.f16 %3, h3;\n"
        "}"
        : "=f"(x[0]), "=f"(x[1]), "=f"(x[2]), "=f"(x[3])
        : "r"(codes));
}

// An address within the block's shared memory.
__device__ __forceinline__ unsigned shared_address(const void* pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// --- mbarrier: phases that count arrivals and bytes ---

__device__ __forceinline__ void mbarrier_init(unsigned long long* barrier, unsigned arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}

// Makes initialised barriers visible to the bulk copy engine.
__device__ __forceinline__ void fence_barrier_init() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void mbarrier_arrive(unsigned long long* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// Arrives, and says how many bytes the phase waits for besides.
__device__ __forceinline__ void mbarrier_expect(unsigned long long* barrier, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
}

// Returns once the phase of this parity is complete; the phase before the first counts as complete with parity 1.
__device__ __forceinline__ void mbarrier_wait(unsigned long long* barrier, unsigned parity) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@!done bra again;\n"
        "}" ::"r"(shared_address(barrier)),
        "r"(parity)
        : "memory");
}

// --- bulk tensor loads ---

__device__ __forceinline__ void tma_prefetch(const TensorMap* map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// The box at column x and row y, to shared memory; its bytes count on the barrier.
__device__ __forceinline__ void tma_load_2d(void* to, const TensorMap* map, unsigned long long* barrier, int x, int y) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(
            shared_address(to)),
        "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y)
        : "memory");
}

// --- warpgroup matrix products (9.7.15): 128 threads, A and B in shared memory, sums in registers ---

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Names every sum as read and written, so that no use of it moves across.
#define SUMS_8(d, i)                                                                                            \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
        "+f"(d[i + 7])
#define SUMS_64(d) \
    SUMS_8(d, 0), SUMS_8(d, 8), SUMS_8(d, 16), SUMS_8(d, 24), SUMS_8(d, 32), SUMS_8(d, 40), SUMS_8(d, 48), SUMS_8(d, 56)

// Waits until at most `PENDING` committed groups are under way.
template <int PENDING>
__device__ __forceinline__ void wgmma_wait(float (&d)[64]) {
    asm volatile("wgmma.wait_group.sync.aligned %64;" : SUMS_64(d) : "n"(PENDING) : "memory");
}

// d = a . b^T (+ d): 64 x 128 sums over 32 codes. Sum 4 j + i of lane l of warp w stands at row
// 16 w + l / 4 + 8 (i / 2) and column 8 j + 2 (l % 4) + i % 2.
__device__ __forceinline__ void wgmma_e4m3_m64n128k32(float (&d)[64], unsigned long long a, unsigned long long b,
                                                      bool accumulate) {
    asm volatile(
        "{\n"
        ".reg .pred accumulate;\n"
        "setp.ne.b32 accumulate, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, accumulate, 1, 1;\n"
        "}"
        : SUMS_64(d)
        : "l"(a), "l"(b), "r"(static_cast<int>(accumulate)));
}

// --- warp matrix products and their loads ---

// 16 bytes from global to shared memory, or 16 zeros.
__device__ __forceinline__ void cp_async_16(void* to, const void* from, bool copy) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(copy ? 16 : 0)
                 : "memory");
}

__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

template <int PENDING>
__device__ __forceinline__ void cp_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Four 8 x 8 matrices of 16-bit elements: lane l names row l % 8 of matrix l / 8, and is given of each matrix
// elements 2 (l % 4) and + 1 of row l / 4; transposed: of column l / 4.
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ __forceinline__ void ldmatrix_x4_transposed(unsigned (&r)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// d += a . b: 16 x 8 sums over 16 bf16. With g = l / 4, t = l % 4: sums (g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t +
// 1); a: pairs from (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8); b: pairs down from (2t, g), (2t + 8, g).
__device__ __forceinline__ void mma_bf16_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#endif
