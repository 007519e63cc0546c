// The gated unit and quantisation: the arithmetic's own steps bit for bit, the gate itself within 4e-7 of f64.
#include "swiglu_quantise.cu"

#include "quantised.hpp"

static void run(int rows, int cols, bool tiled, Random& random) {
    const int tiles = tiled ? (cols + 127) / 128 : 1;
    Buffer<float> x(std::size_t(rows) * 2 * cols), scales(std::size_t(rows) * tiles);
    Buffer<unsigned char> codes(std::size_t(rows) * cols);
    for (int row = 0; row < rows; row++) {
        for (int i = 0; i < 2 * cols; i++) {
            float& value = x[row * 2 * cols + i];
            value = 8.0f * random.uniform();
            if (row % 4 == 1) value = 0.0f;
            if (row % 4 == 2 && i == cols / 2) value = 1e6f;
            if (row % 4 == 3 && i == 0) value = std::numeric_limits<float>::quiet_NaN();
        }
    }
    launch({unsigned(rows), 1, 1}, THREADS, cols * sizeof(float),
           [&] { (tiled ? swiglu_quantise_tiles : swiglu_quantise)(x, codes, scales, cols); });
    Buffer<bf16> out(codes.size());
    launch({unsigned(rows), 1, 1}, THREADS, 0, [&] { swiglu_bf16(x, out, cols); });
    for (int row = 0; row < rows; row++) {
        std::vector<float> y(cols);
        for (int i = 0; i < cols; i++) {
            const float left = x[row * 2 * cols + i], right = x[row * 2 * cols + cols + i];
            y[i] = left * sigmoid_shared(left) * right;
            const double exact = double(left) / (1.0 + std::exp(-double(left))) * right;
            near("gate", i, y[i], exact, 4e-7 * std::fabs(exact));
            same("bf16", row * cols + i, widened(out[row * cols + i]), widened(narrowed(y[i])));
        }
        check_row(row, y, codes, scales, tiled);
    }
}

int main() {
    in_every_order([] {
        Random random{11};
        for (bool tiled : {false, true}) {
            for (int cols : {1, 31, 256, 700}) run(4, cols, tiled, random);
        }
    });
    return report("swiglu_quantise");
}
