// The FP8 product against f64, in shapes that are ragged in every direction, and bit for bit against the tensor core's
// own cuts and the kernel's order of promoting and scaling.
#include "fp8_gemm.cu"

#include "matrix.hpp"

struct Shape {
    int m, n, k;
    unsigned blocks;
    Numbers numbers;
    bool accumulate;
};

template <Scaling SCALING, typename Out, typename Kernel>
static void run(Kernel kernel, const Shape& s, Random& random) {
    const Matrix a(s.m, s.k, s.numbers, random), b(s.n, s.k, s.numbers, random);
    const int parts = (s.k + 127) / 128;
    constexpr bool ROWS = SCALING == Scaling::Rows;
    Buffer<float> a_scales(ROWS ? s.m : s.m * parts), b_scales(ROWS ? s.n : (s.n + 127) / 128 * parts);
    for (float& x : a_scales) x = some_scale(s.numbers, random);
    for (float& x : b_scales) x = some_scale(s.numbers, random);
    Buffer<Out> out(std::size_t(s.m) * s.n, 8);
    std::vector<float> before(out.size());
    const bool adds = s.accumulate && sizeof(Out) == 4;
    for (std::size_t i = 0; i < out.size() && adds; i++) out[i] = Out(before[i] = float(random.below(9)));
    launch({s.blocks, 1, 1}, GEMM_THREADS, 132096,
           [&] { kernel(a.map, b.map, a_scales, b_scales, out, s.m, s.n, s.k, s.accumulate); });
    for (int row = 0; row < s.m; row++) {
        for (int col = 0; col < s.n; col++) {
            Element e = element(a, row, b, col, [&](int part) {
                return ROWS ? double(a_scales[row]) * b_scales[col]
                            : double(a_scales[row * parts + part]) * b_scales[col / 128 * parts + part];
            });
            const std::size_t at = std::size_t(row) * s.n + col;
            e.value += before[at], e.size += before[at];
            const bool alone = ROWS && s.k <= UNPROMOTED;
            float sum = alone ? stepwise(a, row, b, col, 0, s.k) : promoted(a, row, b, col, [&](int part) {
                return ROWS ? 1.0f : a_scales[row * parts + part] * b_scales[col / 128 * parts + part];
            });
            if (ROWS) sum = sum * a_scales[row] * b_scales[col];
            same("bits", at, read(out, at), stored(adds ? before[at] + sum : sum, out.get()));
            near("product", at, read(out, at), e.value, bound_of(e, s.k, alone ? s.k : 128, s.numbers, sizeof(Out) == 2));
        }
    }
}

static void run_all(const Shape& shape, Random& random) {
    run<Scaling::Rows, bf16>(fp8_gemm_rows_bf16, shape, random);
    run<Scaling::Rows, float>(fp8_gemm_rows_f32, shape, random);
    run<Scaling::Blocks, float>(fp8_gemm_blocks_f32, shape, random);
}

int main() {
    in_every_order([] {
        Random random{19};
        run_all({1, 1, 1, 1, Numbers::Any, false}, random);
        run_all({128, 128, 128, 1, Numbers::Whole, true}, random);
        run_all({70, 130, 257, 3, Numbers::Whole, false}, random);  // more blocks than tiles
        run_all({200, 131, 690, 1, Numbers::Any, false}, random);   // one block: four tiles, stages wrap; odd n
        run_all({17, 9, 1152, 1, Numbers::Outliers, true}, random);
        run_all({5, 6, 100, 1, Numbers::NotANumber, false}, random);
        run_all({3, 5, 4096, 1, Numbers::Any, false}, random);  // the longest that is not promoted
        run_all({5, 4, 4100, 1, Numbers::Any, true}, random);   // promoted, a ragged end
        run_all({3, 5, 0, 1, Numbers::Any, true}, random);  // nothing to sum
    });
    return report("fp8_gemm");
}
