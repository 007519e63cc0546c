// Rows of an embedding table, scaled: out[i] = table[rows[i]] * scale.
//
// In: a table [table_rows, cols], row numbers [count]. Out: f32 [count, cols], rounded once. A row number outside the
// table gives a row of zeros and sets bit 0 of *status, which the host clears and reads.
//
// Entry: embedding_gather_f32
//   (const float* table, const unsigned* rows, float* out, unsigned* status, unsigned table_rows, int cols, float scale)
// Grid: (count, 1, 1). Block: 128. Dynamic shared memory: 0. Alignment: that of the element.
// The bits of the CPU's gather followed by a scale.
#include "ptx.cuh"

extern "C" __global__ void __launch_bounds__(128)
    embedding_gather_f32(const float* __restrict__ table, const unsigned* __restrict__ rows, float* __restrict__ out,
                         unsigned* __restrict__ status, unsigned table_rows, int cols, float scale) {
    const unsigned row = rows[blockIdx.x];
    const bool known = row < table_rows;
    const size_t from = static_cast<size_t>(row) * cols, to = static_cast<size_t>(blockIdx.x) * cols;
    for (int i = threadIdx.x; i < cols; i += blockDim.x) {
        out[to + i] = known ? __fmul_rn(table[from + i], scale) : 0.0f;
    }
    if (!known && threadIdx.x == 0) atomicOr(status, 1u);
}
