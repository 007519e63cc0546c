// The beam step against the CPU search's rules: scores within a bound of f64, selection and ties exactly.
// Bound of a score: 1e-6 (8 + |score| + |logit| + |ln sum|): exponentials to 2e-7, sums over a tree, three roundings.
#include "beam_step.cu"

#include "check.hpp"

struct World {
    unsigned parents, most_children;
    int requests, beams, codes, k;
    bool masked, labelled, ties;
    int nan_beam = -1;
};

static void run(const World& w, bool renormalise, unsigned parts, Random& random) {
    // A trie level: every node has distinct codes, ascending.
    std::vector<unsigned> offsets{0}, codes_of;
    for (unsigned node = 0; node < w.parents; node++) {
        const unsigned wanted = node % 7 == 3 ? 0 : random.below(w.most_children + 1);
        for (int code = 0; code < w.codes && codes_of.size() - offsets.back() < wanted; code++) {
            if (random.below(w.codes - code) < wanted - (codes_of.size() - offsets.back())) codes_of.push_back(code);
        }
        offsets.push_back(unsigned(codes_of.size()));
    }
    const unsigned children = unsigned(codes_of.size()), words = children / 32 + 1;
    const std::size_t rows = std::size_t(w.requests) * w.beams;
    Buffer<unsigned> child_offsets(offsets.size()), child_codes(children), nodes(rows), status(1);
    Buffer<unsigned> labels(std::size_t(w.requests) * children), alive(std::size_t(w.requests) * words);
    Buffer<float> logits(rows * w.codes), scores(rows), out_scores(std::size_t(w.requests) * w.k);
    std::copy(offsets.begin(), offsets.end(), child_offsets.begin());
    std::copy(codes_of.begin(), codes_of.end(), child_codes.begin());
    const auto number = [&] { return w.ties ? 0.5f * float(random.below(5)) - 1.0f : 6.0f * random.uniform(); };
    for (float& x : logits) x = number();
    for (float& x : scores) x = -std::fabs(number());
    if (w.codes > 2) logits[1] = -std::numeric_limits<float>::infinity();
    std::size_t needed = 1;
    for (int r = 0; r < w.requests; r++) {
        std::vector<unsigned> all(w.parents);
        for (unsigned i = 0; i < w.parents; i++) all[i] = i;
        for (unsigned i = w.parents; i > 1; i--) std::swap(all[i - 1], all[random.below(i)]);
        std::size_t count = 0;
        for (int b = 0; b < w.beams; b++) {
            const bool empty = b >= int(w.parents) || b % 11 == 10;
            nodes[r * w.beams + b] = empty ? NONE : all[b];
            if (!empty) count += offsets[all[b] + 1] - offsets[all[b]];
        }
        needed = std::max(needed, count);
        for (unsigned i = 0; i < children; i++) labels[r * children + i] = i % 13 == 7 ? NONE : children - 1 - i;
    }
    if (w.nan_beam >= 0) logits[w.nan_beam * w.codes + w.codes - 1] = std::numeric_limits<float>::quiet_NaN();
    for (unsigned& word : alive) word = unsigned(random.bits());
    *status = 0;
    const unsigned capacity = unsigned(needed);
    Buffer<unsigned long long> keys(std::size_t(w.requests) * capacity);
    Buffer<unsigned> slots(std::size_t(w.requests) * (w.beams + 1)), counts(w.requests);
    Buffer<unsigned> out_parents(out_scores.size()), out_codes(out_scores.size()), out_nodes(out_scores.size());
    const unsigned* own_labels = w.labelled ? labels.get() : nullptr;
    const unsigned* own_alive = w.masked ? alive.get() : nullptr;
    launch({unsigned(w.beams), unsigned(w.requests), 1}, SCORE_THREADS, 0, [&] {
        beam_score(logits, child_offsets, child_codes, own_labels, own_alive, nodes, scores, keys, slots, status,
                   w.beams, w.codes, capacity, children, words, renormalise);
    });
    Buffer<unsigned long long> part_keys(std::size_t(w.requests) * parts * w.k);
    Buffer<unsigned> part_places(part_keys.size());
    if (parts) {
        launch({parts, unsigned(w.requests), 1}, SELECT_THREADS, 0,
               [&] { beam_narrow(keys, slots, part_keys, part_places, w.beams, w.k, capacity); });
    }
    launch({unsigned(w.requests), 1, 1}, SELECT_THREADS, 0, [&] {
        if (parts) {
            beam_select_parts(part_keys, part_places, slots, child_offsets, child_codes, nodes, out_parents, out_codes,
                              out_nodes, out_scores, counts, w.beams, w.k, parts);
            return;
        }
        beam_select(keys, slots, child_offsets, child_codes, nodes, out_parents, out_codes, out_nodes, out_scores,
                    counts, w.beams, w.k, capacity);
    });
    bool nan = false;
    for (int r = 0; r < w.requests; r++) {
        struct Candidate {
            unsigned long long key;
            unsigned parent, code, node;
        };
        std::vector<Candidate> candidates;
        unsigned slot = 0;
        for (int b = 0; b < w.beams; b++) {
            const std::size_t at = std::size_t(r) * w.beams + b;
            same("slot", at, slots[r * (w.beams + 1) + b], slot);
            if (nodes[at] == NONE) continue;
            const unsigned from = offsets[nodes[at]], to = offsets[nodes[at] + 1];
            double top = -1e300, sum = 0.0;
            const auto over = [&](auto each) {
                if (renormalise)
                    for (unsigned c = from; c < to; c++) each(double(logits[at * w.codes + codes_of[c]]));
                else
                    for (int c = 0; c < w.codes; c++) each(double(logits[at * w.codes + c]));
            };
            over([&](double x) { top = std::fmax(top, x); });
            over([&](double x) { sum += std::exp(x - top); });
            const double total = top + std::log(sum);
            for (unsigned c = from; c < to; c++, slot++) {
                const unsigned label = w.labelled ? labels[r * children + c] : c;
                const bool candidate = label != NONE && (!w.masked || alive[r * words + c / 32] >> c % 32 & 1);
                const unsigned long long key = keys[std::size_t(r) * capacity + slot];
                const double logit = logits[at * w.codes + codes_of[c]], wanted = scores[at] + (logit - total);
                if (!candidate || wanted != wanted) {
                    nan |= candidate;
                    same("no candidate", slot, double(key), 0.0);
                    continue;
                }
                same("label", slot, unsigned(~key), label);
                near("score", slot, score_of(key), wanted,
                     1e-6 * (8 + std::fabs(wanted) + std::fabs(logit) + std::fabs(total)));
                candidates.push_back({key, unsigned(at), codes_of[c], c});
            }
        }
        same("slots", r, slots[r * (w.beams + 1) + w.beams], slot);
        // Scores down, labels up: on floats and integers, apart from the key's own order.
        std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
            const float left = score_of(a.key), right = score_of(b.key);
            return left != right ? left > right : unsigned(~a.key) < unsigned(~b.key);
        });
        const std::size_t count = std::min(candidates.size(), std::size_t(w.k));
        same("count", r, counts[r], double(count));
        for (std::size_t i = 0; i < std::size_t(w.k); i++) {
            const std::size_t at = std::size_t(r) * w.k + i;
            const bool is = i < count;
            same("parent", at, out_parents[at], is ? candidates[i].parent : unsigned(r * w.beams));
            same("code", at, out_codes[at], is ? candidates[i].code : 0);
            same("node", at, out_nodes[at], is ? candidates[i].node : NONE);
            same("best", at, out_scores[at],
                 is ? score_of(candidates[i].key) : -std::numeric_limits<float>::infinity());
        }
    }
    same("status", 0, *status, nan);
}

int main() {
    in_every_order([] {
        Random random{13};
        for (bool renormalise : {false, true}) {
            run({1, 300, 1, 1, 300, 1024, false, false, false}, renormalise, 0, random);  // the root, fewer than k
            run({40, 9, 2, 23, 50, 16, true, true, true}, renormalise, 0, random);        // ties, masks, empty beams
            run({30, 60, 1, 25, 700, 100, false, true, true}, renormalise, 3,
                random);                                                          // many equal scores at the border
            run({3, 4, 1, 5, 4, 1, true, false, false}, renormalise, 2, random);  // more beams than nodes
            run({9, 200, 2, 9, 256, 1000, true, false, false}, renormalise, 5, random);
            run({12, 5, 1, 12, 5, 8, false, false, true, 2}, renormalise, 0, random);  // not a number
            run({7, 0, 1, 7, 3, 4, false, false, false}, renormalise, 2, random);      // no children at all
        }
        // Too little room: the rest is dropped and reported.
        Buffer<float> logits(4), scores(1);
        Buffer<unsigned> offsets(2), codes(4), nodes(1), slots(2), status(1);
        Buffer<unsigned long long> keys(2);
        for (int i = 0; i < 4; i++) logits[i] = float(i), codes[i] = i;
        offsets[0] = 0, offsets[1] = 4, *nodes = 0, *scores = 0.0f, *status = 0;
        launch({1, 1, 1}, SCORE_THREADS, 0, [&] {
            beam_score(logits, offsets, codes, nullptr, nullptr, nodes, scores, keys, slots, status, 1, 4, 2, 0, 0, 0);
        });
        same("full", 0, *status, 2);
    });
    return report("beam_step");
}
