// Embedding rows against plain indexing: bit for bit, unknown rows zero and reported.
#include "embedding_gather.cu"

#include "check.hpp"

template <typename T, typename Kernel, typename Wide>
static void run(Kernel kernel, Wide wide, unsigned table_rows, int cols, int count, bool unknown) {
    Random random{3};
    Buffer<T> table(std::size_t(table_rows) * cols);
    Buffer<unsigned> rows(count), status(1);
    Buffer<float> out(std::size_t(count) * cols);
    for (T& x : table) x = sizeof(T) == 2 ? T(narrowed(random.uniform())) : T(random.uniform());
    for (unsigned& row : rows) row = random.below(table_rows);
    if (unknown) rows[count / 2] = table_rows, rows[count - 1] = 0xFFFFFFFF;
    *status = 0;
    const float scale = 1.7f;
    launch({unsigned(count), 1, 1}, 128, 0, [&] { kernel(table, rows, out, status, table_rows, cols, scale); });
    same("status", 0, *status, unknown);
    for (int i = 0; i < count * cols; i++) {
        const unsigned row = rows[i / cols];
        same("row", i, out[i], row < table_rows ? float(wide(table[row * cols + i % cols])) * scale : 0.0f);
    }
}

int main() {
    in_every_order([] {
        for (int cols : {1, 127, 128, 300}) {
            for (bool unknown : {false, true}) {
                run<bf16>(embedding_gather_bf16, widened, 9, cols, 5, unknown);
                run<float>(embedding_gather_f32, [](float x) { return x; }, 9, cols, 5, unknown);
            }
        }
    });
    return report("embedding_gather");
}
