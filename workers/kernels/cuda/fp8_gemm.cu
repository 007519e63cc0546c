// out = a . b^T over E4M3 codes: Hopper's warpgroup matrix instructions, fed by bulk tensor loads.
//
// In: activations a [m, k] and weights b [n, k] as codes, with scales. Out: [m, n], bf16 or f32, row stride n.
//   rows:   a scale a row of a and of b: (sum * a_scale) * b_scale; one accumulation over all of k, or, where k > 4096,
//           f32 sums of accumulations over 128 columns
//   blocks: a_scales [m, ceil(k / 128)], b_scales [ceil(n / 128), ceil(k / 128)]:
//           out = fma(sum of 128 columns, a_scale * b_scale, out)
// With accumulate != 0 the result is added to what stands in out (f32 entries; the bf16 entry ignores it).
//
// Entries: fp8_gemm_rows_bf16, fp8_gemm_rows_f32, fp8_gemm_blocks_f32
//   (__grid_constant__ TensorMap a_map, __grid_constant__ TensorMap b_map, const float* a_scales,
//    const float* b_scales, bf16* | float* out, int m, int n, int k, int accumulate)
// TensorMap is a CUtensorMap by value (128 bytes): UINT8, rank 2, dimensions {k, rows}, stride {bytes of a row: a
// multiple of 16}, box {128, 128}, element strides {1, 1}, no interleave, SWIZZLE_128B, out of bounds filled with
// zeros; base address a multiple of 16. rows is m for a_map, n for b_map. m, n >= 1; k = 0 gives zeros, and the maps
// are not read (any bytes will do).
//
// Grid: (g, 1, 1), any g >= 1: a block takes tiles blockIdx.x, + g, ...; best min(tiles, multiprocessors), tiles of
// 128 x 128. Block: 384. Dynamic shared memory: 132096. Alignment of out: bf16 4 bytes, f32 8 bytes.
#include "gemm.cuh"

#define FP8_GEMM(NAME, SCALING, OUT)                                                                               \
    extern "C" __global__ void __launch_bounds__(GEMM_THREADS, 1)                                                  \
        NAME(const __grid_constant__ TensorMap a_map, const __grid_constant__ TensorMap b_map,                     \
             const float* __restrict__ a_scales, const float* __restrict__ b_scales, OUT* __restrict__ out, int m, \
             int n, int k, int accumulate) {                                                                       \
        extern __shared__ unsigned char shared_memory[];                                                           \
        __shared__ Barriers barriers;                                                                              \
        const Problem<OUT> problem{a_scales, b_scales, out, n, k, accumulate != 0};                                \
        gemm<SCALING>(a_map, b_map, problem, Dense{m, n}, shared_memory, barriers);                                \
    }

FP8_GEMM(fp8_gemm_rows_bf16, Scaling::Rows, bf16)
FP8_GEMM(fp8_gemm_rows_f32, Scaling::Rows, float)
FP8_GEMM(fp8_gemm_blocks_f32, Scaling::Blocks, float)
