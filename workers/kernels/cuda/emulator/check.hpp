// What the tests of the kernels share: random numbers, comparisons, naive formats.
//
// In: what a kernel gave and what a naive f64 reference says. Out: one line a disagreement and exit status 1, at the
// end or after five; with none a line that counts the comparisons.
#pragma once

#include <cstdio>
#include <limits>
#include <vector>

#include "shim.hpp"

using emulator::Buffer;
using emulator::launch;

inline long long comparisons = 0, disagreements = 0;

inline void disagree(const char* what, std::size_t at, double got, double wanted) {
    std::printf("%s [%zu]: %.9g, not %.9g (%s)\n", what, at, got, wanted, emulator::order.name);
    if (++disagreements < 5) return;
    std::fflush(stdout);
    std::_Exit(1);
}

// Equal, NaN to NaN.
inline void same(const char* what, std::size_t at, double got, double wanted) {
    comparisons++;
    if (!(got == wanted || (got != got && wanted != wanted))) disagree(what, at, got, wanted);
}

// Within an absolute bound; infinities and NaN must be equal.
inline void near(const char* what, std::size_t at, double got, double wanted, double bound) {
    comparisons++;
    if (got == wanted || (got != got && wanted != wanted)) return;
    if (!(std::fabs(got - wanted) <= bound)) disagree(what, at, got, wanted);
}

inline int report(const char* name) {
    std::printf("%-18s %s: %lld comparisons, %lld disagreements\n", name, disagreements ? "WRONG" : "ok", comparisons,
                disagreements);
    return disagreements || !comparisons;
}

// SplitMix64: the same numbers on every machine.
struct Random {
    std::uint64_t state;
    std::uint64_t bits() {
        std::uint64_t x = state += 0x9E3779B97F4A7C15;
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
        x = (x ^ x >> 27) * 0x94D049BB133111EB;
        return x ^ x >> 31;
    }
    unsigned below(unsigned n) { return static_cast<unsigned>(bits() % n); }
    // Uniform in [-1, 1).
    float uniform() { return static_cast<float>(static_cast<double>(bits() >> 11) / (1ull << 52) - 1.0); }
};

template <typename Body>
void in_every_order(Body body) {
    for (const emulator::Order& order : emulator::ORDERS) {
        emulator::order = order;
        body();
    }
}

// The value and the code of E4M3 by a table walked from below, apart from the emulator's own.
inline double decoded(unsigned char code) {
    static const auto table = [] {
        std::vector<double> values(256);
        double value = 0.0, step = 1.0 / 512;
        for (int size = 0; size < 127; size++) {
            if (size >= 16 && size % 8 == 0) step *= 2;
            values[size] = value;
            values[size + 128] = -value;
            value += step;
        }
        values[127] = values[255] = std::numeric_limits<double>::quiet_NaN();
        return values;
    }();
    return table[code];
}
inline unsigned char encoded(float x) {
    if (x != x) return 0x7F;
    int best = 0;
    for (int size = 1; size < 127; size++) {
        const double now = std::fabs(decoded(best) - std::fabs(double(x))),
                     next = std::fabs(decoded(size) - std::fabs(double(x)));
        if (next < now || (next == now && size % 2 == 0)) best = size;
    }
    return static_cast<unsigned char>(best | (std::signbit(x) ? 128 : 0));
}
inline double widened(unsigned short half) { return __uint_as_float(static_cast<unsigned>(half) << 16); }
inline unsigned short narrowed(float x) {
    const unsigned bits = __float_as_uint(x), rest = bits & 0xFFFF,
                   up = rest > 0x8000 || (rest == 0x8000 && bits >> 16 & 1);
    return static_cast<unsigned short>(x != x ? 0x7FFF : (bits >> 16) + up);
}
