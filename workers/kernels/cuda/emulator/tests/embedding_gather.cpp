// Embedding rows against plain indexing: bit for bit, unknown rows zero and reported.
#include "embedding_gather.cu"

#include "check.hpp"

static void run(unsigned table_rows, int cols, int count, bool unknown) {
    Random random{3};
    Buffer<float> table(std::size_t(table_rows) * cols), out(std::size_t(count) * cols);
    Buffer<unsigned> rows(count), status(1);
    for (float& x : table) x = random.uniform();
    for (unsigned& row : rows) row = random.below(table_rows);
    if (unknown) rows[count / 2] = table_rows, rows[count - 1] = 0xFFFFFFFF;
    *status = 0;
    const float scale = 1.7f;
    launch({unsigned(count), 1, 1}, 128, 0,
           [&] { embedding_gather_f32(table, rows, out, status, table_rows, cols, scale); });
    same("status", 0, *status, unknown);
    for (int i = 0; i < count * cols; i++) {
        const unsigned row = rows[i / cols];
        same("row", i, out[i], row < table_rows ? table[row * cols + i % cols] * scale : 0.0f);
    }
}

int main() {
    in_every_order([] {
        for (int cols : {1, 127, 128, 300}) {
            for (bool unknown : {false, true}) run(9, cols, 5, unknown);
        }
    });
    return report("embedding_gather");
}
