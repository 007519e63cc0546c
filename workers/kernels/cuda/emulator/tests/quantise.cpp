// Plain quantisation against the CPU's steps, bit for bit, with every special value a float has.
#include "quantise.cu"

#include "quantised.hpp"

template <typename T, typename Kernel>
static void run(Kernel kernel, bool tiled, int cols, Random& random) {
    constexpr int ROWS = 4;
    const int tiles = tiled ? (cols + 127) / 128 : 1;
    Buffer<T> x(std::size_t(ROWS) * cols);
    Buffer<float> scales(std::size_t(ROWS) * tiles);
    Buffer<unsigned char> codes(x.size());
    std::vector<std::vector<float>> rows(ROWS);
    for (std::size_t i = 0; i < x.size(); i++) {
        const int row = int(i / cols);
        float value = random.uniform();
        if (row == 1) value = __uint_as_float(unsigned(random.bits()));  // any bits: NaN, infinities, denormals
        if (row == 2) value = random.below(2) ? 0.0f : -0.0f;
        if (row == 3 && i % cols == 0) value = -std::numeric_limits<float>::infinity();
        if (sizeof(T) == 2) value = float(widened(narrowed(value)));
        x[i] = sizeof(T) == 2 ? T(narrowed(value)) : T(value);
        rows[row].push_back(value);
    }
    launch({ROWS, 1, 1}, THREADS, cols * sizeof(float), [&] { kernel(x, codes, scales, cols); });
    for (int row = 0; row < ROWS; row++) check_row(row, rows[row], codes, scales, tiled);
}

int main() {
    in_every_order([] {
        Random random{31};
        for (int cols : {1, 128, 300, 1200}) {
            run<float>(quantise_f32, false, cols, random);
            run<bf16>(quantise_bf16, false, cols, random);
            run<float>(quantise_f32_tiles, true, cols, random);
        }
    });
    return report("quantise");
}
