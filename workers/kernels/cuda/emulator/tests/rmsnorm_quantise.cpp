// RMSNorm and quantisation against the CPU's steps one by one: codes, scales and bf16 bit for bit.
#include "rmsnorm_quantise.cu"

#include "quantised.hpp"

// The CPU's sum of squares: 16 lanes one after another, folded in halves.
static float reference_sum(const float* x, int cols) {
    float lanes[16] = {};
    for (int i = 0; i < cols; i++) lanes[i % 16] = std::fma(x[i], x[i], lanes[i % 16]);
    for (int half = 8; half > 0; half /= 2) {
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    }
    return lanes[0];
}

static void run(int rows, int cols, bool tiled, Random& random) {
    const int tiles = tiled ? (cols + 127) / 128 : 1;
    Buffer<float> x(std::size_t(rows) * cols), gain(cols), scales(std::size_t(rows) * tiles);
    Buffer<unsigned char> codes(std::size_t(rows) * cols);
    for (int row = 0; row < rows; row++) {
        for (int i = 0; i < cols; i++) {
            float& value = x[row * cols + i];
            value = random.uniform();
            if (row % 5 == 1) value = 0.0f;                                     // a row of zeros
            if (row % 5 == 2 && i == cols / 2) value = 1e6f;                    // an outlier
            if (row % 5 == 3) value = __uint_as_float(random.below(0x7FFFFF));  // denormals
            if (row % 5 == 4 && i == 0) value = std::numeric_limits<float>::quiet_NaN();
        }
    }
    for (int i = 0; i < cols; i++) gain[i] = 1.0f + 0.5f * random.uniform();
    const float epsilon = 1e-6f;
    launch({unsigned(rows), 1, 1}, THREADS, cols * sizeof(float),
           [&] { (tiled ? rmsnorm_quantise_tiles : rmsnorm_quantise)(x, gain, codes, scales, cols, epsilon); });
    Buffer<bf16> out(codes.size());
    launch({unsigned(rows), 1, 1}, THREADS, cols * sizeof(float), [&] { rmsnorm_bf16(x, gain, out, cols, epsilon); });
    for (int row = 0; row < rows; row++) {
        const float inverse = 1.0f / float(cols);
        const float root = 1.0f / std::sqrt(reference_sum(x + row * cols, cols) * inverse + epsilon);
        std::vector<float> y(cols);
        for (int i = 0; i < cols; i++) y[i] = x[row * cols + i] * root * gain[i];
        check_row(row, y, codes, scales, tiled);
        for (int i = 0; i < cols; i++)
            same("bf16", row * cols + i, widened(out[row * cols + i]), widened(narrowed(y[i])));
    }
}

int main() {
    in_every_order([] {
        Random random{7};
        for (bool tiled : {false, true}) {
            for (int cols : {1, 15, 17, 129, 256, 1000, 1500}) run(5, cols, tiled, random);
        }
    });
    return report("rmsnorm_quantise");
}
