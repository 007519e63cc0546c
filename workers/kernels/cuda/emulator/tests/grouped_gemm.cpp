// Products by expert against f64: experts without rows, ragged everywhere, rows of no expert left alone.
#include "grouped_gemm.cu"

#include "matrix.hpp"

static void run(const std::vector<unsigned>& offsets, int rows, int n, int k, unsigned blocks, Numbers numbers,
                bool accumulate, Random& random) {
    const int experts = int(offsets.size()) - 1, parts = (k + 127) / 128, across = (n + 127) / 128;
    const Matrix a(rows, k, numbers, random), b(experts * n, k, numbers, random);
    Buffer<float> a_scales(std::size_t(rows) * parts), b_scales(std::size_t(experts) * across * parts);
    Buffer<unsigned> row_offsets(offsets.size());
    std::copy(offsets.begin(), offsets.end(), row_offsets.begin());
    for (float& x : a_scales) x = some_scale(numbers, random);
    for (float& x : b_scales) x = some_scale(numbers, random);
    Buffer<float> out(std::size_t(rows) * n, 8);
    for (std::size_t i = 0; i < out.size() && accumulate; i++) out[i] = 3.0f;
    launch({blocks, 1, 1}, GEMM_THREADS, 132096,
           [&] { grouped_gemm_f32(a.map, b.map, a_scales, b_scales, row_offsets, out, experts, n, k, accumulate); });
    for (int row = 0; row < rows; row++) {
        int expert = -1;
        for (int e = 0; e < experts; e++) {
            if (row >= int(offsets[e]) && row < int(offsets[e + 1])) expert = e;
        }
        for (int col = 0; col < n; col++) {
            const std::size_t at = std::size_t(row) * n + col;
            if (expert < 0) {
                same("a row of no expert", at, read(out, at), accumulate ? 3.0 : std::nan(""));
                continue;
            }
            Element e = element(a, row, b, expert * n + col, [&](int part) {
                return double(a_scales[row * parts + part]) * b_scales[(expert * across + col / 128) * parts + part];
            });
            e.value += accumulate ? 3.0 : 0.0, e.size += 3.0;
            const float sum = promoted(a, row, b, expert * n + col, [&](int part) {
                return a_scales[row * parts + part] * b_scales[(expert * across + col / 128) * parts + part];
            });
            same("bits", at, read(out, at), double(accumulate ? 3.0f + sum : sum));
            near("product", at, read(out, at), e.value, bound_of(e, k, 128, numbers, false));
        }
    }
}

int main() {
    in_every_order([] {
        Random random{23};
        run({0, 1, 1, 140, 150}, 150, 130, 200, 2, Numbers::Whole, false, random);
        run({0, 1, 1, 140, 150}, 150, 131, 200, 1, Numbers::Any, false, random);
        run({2, 2, 5, 9, 9}, 12, 10, 700, 7, Numbers::Whole, true, random);
        run({0, 3, 8}, 8, 7, 129, 1, Numbers::NotANumber, false, random);
        run({4, 4, 4}, 6, 16, 64, 3, Numbers::Any, true, random);  // no rows at all
        run({0, 2, 6}, 6, 4, 0, 1, Numbers::Any, false, random);   // nothing to sum
    });
    return report("grouped_gemm");
}
