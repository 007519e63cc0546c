// One step of Hopper's tensor core over E4M3, in bits: what `fp8::emulate` of the Rust side models, written anew.
//
// In: 32 codes of a row and of a column, a sum. Out: the next sum. Products and sum are aligned to the largest exponent
// among them, each cut towards zero to 13 fraction bits, added, and the result cut to 13 fraction bits. A product's
// exponent is its operands' together; zeros have none; NaN gives NaN. The model is MMA-Sim's (arXiv 2511.10909),
// compared by nobody here with a device.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace emulator {

constexpr int STEP_CODES = 32, FRACTION_BITS = 13;
constexpr int NO_EXPONENT = -1000;  // of a sum that is zero or subnormal
constexpr short NO_CODE = -2000;    // of a zero code: below every other, whatever is added

// A code taken apart.
struct Part {
    float value;
    short exponent;
    bool number;
};

inline Part part_of(unsigned char code) {
    const int stored = code >> 3 & 15, fraction = code & 7, exponent = std::max(stored, 1) - 7;
    const float size = std::ldexp(static_cast<float>(stored ? 8 + fraction : fraction), exponent - 3);
    const bool zero = !(stored | fraction);
    return {code & 0x80 ? -size : size, zero ? NO_CODE : static_cast<short>(exponent), (code & 0x7F) != 0x7F};
}

// The codes of a step. Values and exponents lie apart so that several are taken at once.
struct alignas(16) Codes {
    float values[STEP_CODES];
    short exponents[STEP_CODES];
    bool numbers;

    template <typename Code>
    void read(Code code) {
        static const auto parts = [] {
            std::array<Part, 256> all{};
            for (int i = 0; i < 256; i++) all[i] = part_of(static_cast<unsigned char>(i));
            return all;
        }();
        numbers = true;
        for (int at = 0; at < STEP_CODES; at++) {
            const Part& part = parts[code(at)];
            values[at] = part.value, exponents[at] = part.exponent;
            numbers &= part.number;
        }
    }
};

inline double power_of_two(int exponent) {
    const std::uint64_t bits = static_cast<std::uint64_t>(exponent + 1023) << 52;
    double power;
    std::memcpy(&power, &bits, sizeof power);
    return power;
}

inline float tensor_core_step(const Codes& a, const Codes& b, float sum) {
    typedef short Shorts __attribute__((vector_size(16)));
    typedef float Floats __attribute__((vector_size(16)));
    typedef int Ints __attribute__((vector_size(16)));
    if (!a.numbers || !b.numbers || sum != sum) return std::nanf("");
    const auto* x = reinterpret_cast<const Shorts*>(a.exponents);
    const auto* y = reinterpret_cast<const Shorts*>(b.exponents);
    Shorts most = x[0] + y[0];
    for (int i = 1; i < STEP_CODES / 8; i++) {
        const Shorts next = x[i] + y[i];
        most = most > next ? most : next;
    }
    std::uint32_t bits;
    std::memcpy(&bits, &sum, sizeof bits);
    const int stored = bits >> 23 & 0xFF;
    int largest = stored ? stored - 127 : NO_EXPONENT;
    for (int i = 0; i < 8; i++) largest = std::max(largest, static_cast<int>(most[i]));
    if (largest == NO_EXPONENT) return 0.0f;
    // Numbers in units of the last bit that survives. Where the sum is so small, every product is zero.
    const float unit = static_cast<float>(power_of_two(std::min(FRACTION_BITS - largest, 100)));
    const auto* left = reinterpret_cast<const Floats*>(a.values);
    const auto* right = reinterpret_cast<const Floats*>(b.values);
    Ints cut{};
    for (int i = 0; i < STEP_CODES / 4; i++) cut += __builtin_convertvector(left[i] * right[i] * unit, Ints);
    int total = cut[0] + cut[1] + cut[2] + cut[3];
    if (stored) total += static_cast<int>(sum * power_of_two(FRACTION_BITS - largest));
    const unsigned size = static_cast<unsigned>(std::abs(total));
    const int excess = size >> (FRACTION_BITS + 1) ? 31 - FRACTION_BITS - __builtin_clz(size) : 0;
    const double kept = static_cast<double>(size >> excess << excess);
    return static_cast<float>((total < 0 ? -kept : kept) * power_of_two(largest - FRACTION_BITS));
}

}  // namespace emulator
