// A matrix product an expert: rows sorted by expert, each expert its own weights.
//
// In: activations a [m, k] as E4M3 codes, sorted by expert, a_scales [m, ceil(k / 128)]; weights of all experts
// b [experts, n, k] as codes, b_scales [experts, ceil(n / 128), ceil(k / 128)]; row_offsets [experts + 1], on the
// device: expert e has rows row_offsets[e] .. row_offsets[e + 1], perhaps none. Out: [m, n] in f32, row stride n;
// rows that no expert has are left as they are. Scales by block: out = fma(sum of 128 columns, a_scale * b_scale, out).
// With accumulate != 0 the result is added to what stands in out.
//
// Entry: grouped_gemm_f32
//   (__grid_constant__ TensorMap a_map, __grid_constant__ TensorMap b_map, const float* a_scales,
//    const float* b_scales, const unsigned* row_offsets, float* out, int experts, int n, int k, int accumulate)
// TensorMaps as in fp8_gemm.cu; rows is m for a_map (all rows), experts * n for b_map. A tile may load rows of the
// next expert: they reach no stored element.
// Grid: (g, 1, 1), any g >= 1; best the number of multiprocessors. Block: 384. Dynamic shared memory: 132096.
// Alignment of out: 8 bytes.
#include "gemm.cuh"

extern "C" __global__ void __launch_bounds__(GEMM_THREADS, 1)
    grouped_gemm_f32(const __grid_constant__ TensorMap a_map, const __grid_constant__ TensorMap b_map,
                     const float* __restrict__ a_scales, const float* __restrict__ b_scales,
                     const unsigned* __restrict__ row_offsets, float* __restrict__ out, int experts, int n, int k,
                     int accumulate) {
    extern __shared__ unsigned char shared_memory[];
    __shared__ Barriers barriers;
    const Problem<float> problem{a_scales, b_scales, out, n, k, accumulate != 0};
    gemm<Scaling::Blocks>(a_map, b_map, problem, Grouped{row_offsets, experts, n}, shared_memory, barriers);
}
