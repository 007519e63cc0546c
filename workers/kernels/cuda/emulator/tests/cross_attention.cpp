// Attention to a shared context against f64.
// Bound: probabilities and the output are rounded to bf16, 2^-9 each: 0.005 of the largest value that is seen.
#include "cross_attention.cu"

#include "check.hpp"

struct Case {
    std::vector<unsigned> lengths;  // by request
    int beams, heads, groups, distances;
    bool own_values;
    float size;
};

template <int WIDTH, typename Kernel>
static void run(Kernel kernel, const Case& c, Random& random) {
    const int requests = int(c.lengths.size()), own = c.heads / c.groups;
    unsigned all = 1;  // a key of nobody lies between two requests
    std::vector<unsigned> starts;
    for (unsigned length : c.lengths) starts.push_back(all), all += length + 1;
    const std::size_t pitch = std::size_t(c.groups) * WIDTH, rows = std::size_t(requests) * c.beams * c.heads;
    Buffer<bf16> queries(rows * WIDTH, 16), out(rows * WIDTH, 16), keys(all * pitch, 16), values(all * pitch, 16);
    Buffer<unsigned> spans(2 * requests), query_positions(requests), key_positions(all);
    Buffer<float> bias(std::size_t(c.heads) * std::max(1, c.distances));
    for (bf16& x : queries) x = narrowed(c.size * random.uniform());
    for (float& x : bias) x = 2.0f * random.uniform();
    for (int r = 0; r < requests; r++) {
        spans[2 * r] = starts[r];
        spans[2 * r + 1] = c.lengths[r] ? starts[r] + c.lengths[r] : 0;
        query_positions[r] = c.lengths[r];
        for (unsigned i = 0; i < c.lengths[r]; i++) {
            key_positions[starts[r] + i] = i == 3 ? c.lengths[r] + 9 : i;  // one lies after the query
            for (std::size_t at = 0; at < pitch; at++) {
                keys[(starts[r] + i) * pitch + at] = narrowed(random.uniform());
                values[(starts[r] + i) * pitch + at] = narrowed(random.uniform() * (i % 31 == 7 ? 1e6f : 1.0f));
            }
        }
    }
    const bf16* seen = c.own_values ? values.get() : keys.get();
    const float* table = c.distances ? bias.get() : nullptr;
    const float scale = 1.0f / std::sqrt(float(WIDTH));
    launch({unsigned(c.beams * own + 63) / 64, unsigned(c.groups), unsigned(requests)}, 128, 4 * 64 * (WIDTH + 8) * 2,
           [&] {
               kernel(queries, keys, seen, spans, table, c.distances ? query_positions.get() : nullptr,
                      c.distances ? key_positions.get() : nullptr, out, c.beams, c.heads, c.groups, c.distances, scale);
           });
    for (std::size_t row = 0; row < rows; row++) {
        const int head = int(row % c.heads), request = int(row / c.heads / c.beams), group = head / own;
        const unsigned length = c.lengths[request];
        std::vector<double> scores(length), sums(WIDTH);
        double top = -1e300, total = 0.0, largest = 0.0;
        for (unsigned i = 0; i < length; i++) {
            const std::size_t key = starts[request] + i;
            double dot = 0.0;
            for (int at = 0; at < WIDTH; at++) {
                dot += widened(queries[row * WIDTH + at]) * widened(keys[key * pitch + group * WIDTH + at]);
            }
            const int away =
                std::max(0, std::min(c.distances - 1, int(query_positions[request]) - int(key_positions[key])));
            scores[i] = dot * scale + (c.distances ? bias[head * c.distances + away] : 0.0f);
            top = std::fmax(top, scores[i]);
        }
        for (unsigned i = 0; i < length; i++) {
            const double share = std::exp(scores[i] - top);
            total += share;
            for (int at = 0; at < WIDTH; at++) {
                const double value = widened(seen[(starts[request] + i) * pitch + group * WIDTH + at]);
                sums[at] += share * value;
                largest = std::fmax(largest, std::fabs(value));
            }
        }
        for (int at = 0; at < WIDTH; at++) {
            near("attention", row * WIDTH + at, widened(out[row * WIDTH + at]), length ? sums[at] / total : 0.0,
                 0.005 * largest);
        }
    }
}

int main() {
    in_every_order([] {
        Random random{29};
        run<64>(cross_attention_64, {{1, 0, 64, 65}, 3, 4, 1, 5, false, 3.0f}, random);
        run<64>(cross_attention_64, {{200}, 33, 2, 1, 0, true, 0.0f}, random);
        run<128>(cross_attention_128, {{63, 130}, 5, 6, 2, 300, true, 5.0f}, random);
        run<64>(cross_attention_64, {{1000}, 3, 1, 1, 40, true, 3.0f}, random);
        run<128>(cross_attention_128, {{129}, 70, 1, 1, 0, false, 300.0f}, random);
    });
    return report("cross_attention");
}
