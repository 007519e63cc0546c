// Top-k over an FP8 table against a full sort: exact where the products are, else within a bound of f64.
// Bound of a product: 1e-6 of the sum of magnitudes.
#include "item_top_k.cu"

#include "check.hpp"

static void run(unsigned items, int queries, int dim, int kept, int k, bool whole, bool masked, Random& random) {
    const unsigned chunks = (items + CHUNK - 1) / CHUNK, words = items / 32 + 1;
    Buffer<float> q(std::size_t(queries) * dim), scales(items), table(std::size_t(items) * dim);
    Buffer<unsigned char> codes(std::size_t(items) * dim, 4);
    Buffer<unsigned> allowed(std::size_t(queries) * words), status(1);
    for (float& x : q) x = whole ? float(random.below(5)) - 2.0f : random.uniform();
    for (unsigned& word : allowed) word = unsigned(random.bits());
    for (unsigned item = 0; item < items; item++) {
        scales[item] = whole ? 1.0f : item % 50 == 9 ? 1e6f : 0.01f + std::fabs(random.uniform());
        for (int i = 0; i < dim; i++) {
            const float x = item % 17 == 4 ? 0.0f : whole ? float(random.below(7)) - 3.0f : 448.0f * random.uniform();
            codes[std::size_t(item) * dim + i] = encoded(x);
            table[std::size_t(item) * dim + i] = whole ? x : float(decoded(encoded(x)) * scales[item] * 1.001);
        }
    }
    if (items > 100) codes[100 * std::size_t(dim)] = 0x7F;  // not a number: dropped and reported
    *status = 0;
    Buffer<unsigned long long> keys(std::size_t(queries) * chunks * kept);
    Buffer<unsigned> out_items(std::size_t(queries) * k), counts(queries);
    Buffer<float> out_scores(std::size_t(queries) * k);
    const unsigned* mask = masked ? allowed.get() : nullptr;
    launch({chunks, unsigned(queries + QUERIES - 1) / QUERIES, 1}, SELECT_THREADS, 65536 + 16 * dim,
           [&] { item_scan(q, codes, scales, mask, keys, status, queries, items, dim, kept, words); });
    launch({unsigned(queries), 1, 1}, SELECT_THREADS, 0,
           [&] { item_rerank(q, table, keys, out_items, out_scores, counts, status, dim, chunks, kept, k); });
    const auto may = [&](int query, unsigned item) {
        return item != 100 && (!masked || allowed[query * words + item / 32] >> item % 32 & 1);
    };
    bool nan = false;
    for (int query = 0; query < queries; query++) {
        std::vector<double> product(items), size(items);
        for (unsigned item = 0; item < items; item++) {
            for (int i = 0; i < dim; i++) {
                const double x = q[query * dim + i] * decoded(codes[std::size_t(item) * dim + i]) * scales[item];
                product[item] += x, size[item] += std::fabs(x);
            }
            nan |= item == 100 && (!masked || allowed[query * words + item / 32] >> item % 32 & 1);
        }
        std::vector<unsigned long long> all;
        for (unsigned chunk = 0; chunk < chunks; chunk++) {
            const unsigned from = chunk * CHUNK, to = std::min(items, from + CHUNK);
            const unsigned long long* own = keys + (std::size_t(query) * chunks + chunk) * kept;
            std::vector<bool> in(to - from);
            unsigned count = 0;
            for (; count < unsigned(kept) && own[count]; count++) {
                const unsigned item = label_of(own[count]);
                if (item < from || item >= to || !may(query, item) || in[item - from]) {
                    disagree("an item that may not be", count, item, from);
                    continue;
                }
                in[item - from] = true;
                near("product", item, score_of(own[count]), product[item], whole ? 0.0 : 1e-6 * size[item]);
                if (count) same("order", count, own[count - 1] > own[count], 1);
                all.push_back(own[count]);
            }
            unsigned able = 0;
            for (unsigned item = from; item < to; item++) {
                able += may(query, item);
                if (!may(query, item) || in[item - from] || !count) continue;
                const double worst = score_of(own[count - 1]), reach = whole ? 0.0 : 2e-6 * size[item];
                const bool tie = whole && product[item] == worst && item < label_of(own[count - 1]);
                same("nothing better left out", item, product[item] > worst + reach || tie, 0);
            }
            same("kept", chunk, count, std::min(able, unsigned(kept)));
        }
        std::sort(all.rbegin(), all.rend());
        all.resize(std::min(all.size(), std::size_t(kept)));
        struct Best {
            double score, bound;
            unsigned item;
        };
        std::vector<Best> best;
        for (unsigned long long key : all) {
            const unsigned item = label_of(key);
            double sum = 0.0, magnitude = 0.0;
            for (int i = 0; i < dim; i++) {
                const double x = double(q[query * dim + i]) * table[std::size_t(item) * dim + i];
                sum += x, magnitude += std::fabs(x);
            }
            best.push_back({sum, 1e-6 * magnitude, item});
        }
        std::sort(best.begin(), best.end(), [](const Best& a, const Best& b) {
            return a.score != b.score ? a.score > b.score : a.item < b.item;
        });
        const std::size_t count = std::min(best.size(), std::size_t(k));
        same("count", query, counts[query], double(count));
        for (std::size_t i = 0; i < std::size_t(k); i++) {
            const std::size_t at = std::size_t(query) * k + i;
            if (i >= count) {
                same("no item", at, out_items[at], 0xFFFFFFFFu);
                same("no score", at, out_scores[at], -std::numeric_limits<float>::infinity());
            } else {
                near("score", at, out_scores[at], best[i].score, whole ? 0.0 : 2 * best[i].bound);
                if (whole) same("item", at, out_items[at], best[i].item);
            }
        }
    }
    same("status", 0, *status, nan);
}

int main() {
    in_every_order([] {
        Random random{17};
        run(37, 1, 4, 10, 10, true, false, random);
        run(300, 5, 64, 1024, 100, true, true, random);
        run(200, 4, 132, 64, 1, false, false, random);
        run(4100, 2, 20, 128, 50, true, false, random);  // two chunks, a ragged one
        run(1, 1, 4, 1, 1, false, false, random);
    });
    return report("item_top_k");
}
