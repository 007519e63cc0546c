// Self-attention of beams against a naive f64 walk over ancestors.
// Bound: the output's own rounding to bf16, 2^-8 of it, and 1e-5 of the largest value for scores and sums in f32.
#include "beam_attention.cu"

#include "check.hpp"

template <int WIDTH, typename Kernel>
static void run(Kernel kernel, int rows, int heads, unsigned capacity, int level, float size, Random& random) {
    const std::size_t pitch = std::size_t(heads) * WIDTH, all = (level + 1) * std::size_t(capacity) * pitch;
    Buffer<bf16> queries(rows * pitch, 8), keys(all, 8), values(all, 8), out(rows * pitch, 8);
    Buffer<unsigned> parents((level + 1) * std::size_t(capacity));
    // Rows past those in use stay NaN: nobody may read them.
    const auto used = [&](int l) { return l == level ? rows : std::max(1, int(capacity) - l % 2); };
    for (bf16& x : queries) x = narrowed(size * random.uniform());
    double largest = 0.0;
    for (int l = 0; l <= level; l++) {
        for (std::size_t i = 0; i < used(l) * pitch; i++) {
            keys[l * capacity * pitch + i] = narrowed(random.uniform());
            bf16& value = values[l * capacity * pitch + i];
            value = narrowed(i % 97 == 5 ? 1e6f * random.uniform() : random.uniform());
            largest = std::fmax(largest, std::fabs(widened(value)));
        }
        for (int row = 0; l > 0 && row < used(l); row++) parents[l * capacity + row] = random.below(used(l - 1));
    }
    const float scale = 1.0f / std::sqrt(float(WIDTH));
    launch({unsigned(rows * heads + 3) / 4, 1, 1}, 128, 0,
           [&] { kernel(queries, keys, values, parents, out, rows, heads, capacity, level, scale); });
    for (int row = 0; row < rows; row++) {
        for (int head = 0; head < heads; head++) {
            std::vector<std::size_t> chain;
            unsigned at = row;
            for (int l = level; l >= 0; l--) {
                chain.push_back((std::size_t(l) * capacity + at) * pitch + head * WIDTH);
                at = l ? parents[l * capacity + at] : 0;
            }
            const std::size_t query = row * pitch + head * WIDTH;
            std::vector<double> scores, sums(WIDTH);
            double top = -1e300, total = 0.0;
            for (std::size_t place : chain) {
                double dot = 0.0;
                for (int i = 0; i < WIDTH; i++) dot += widened(queries[query + i]) * widened(keys[place + i]);
                scores.push_back(dot * scale);
                top = std::fmax(top, scores.back());
            }
            for (std::size_t l = 0; l < chain.size(); l++) {
                const double share = std::exp(scores[l] - top);
                total += share;
                for (int i = 0; i < WIDTH; i++) sums[i] += share * widened(values[chain[l] + i]);
            }
            for (int i = 0; i < WIDTH; i++) {
                const double wanted = sums[i] / total;
                near("attention", query + i, widened(out[query + i]), wanted, std::fabs(wanted) / 256 + 1e-5 * largest);
            }
        }
    }
}

int main() {
    in_every_order([] {
        Random random{5};
        for (int level = 0; level < MOST_LEVELS; level++) {
            run<64>(beam_attention_64, 5, 3, 7, level, 2.0f, random);
            run<128>(beam_attention_128, 3, 2, 4, level, level % 2 ? 100.0f : 0.0f, random);
        }
    });
    return report("beam_attention");
}
