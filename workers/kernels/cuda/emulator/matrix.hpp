// Operands of the FP8 products under test, and the f64 reference of one element.
//
// In: shapes and a kind of numbers. Out: codes, scales and tensor maps, whose padding is NaN. `Whole`: small integers
// and scales that are powers of two, so that nothing is cut or rounded and results are compared by equality.
#pragma once

#include "check.hpp"

enum class Numbers { Whole, Any, Outliers, NotANumber };

struct Matrix {
    int rows, cols, stride;
    Buffer<unsigned char> codes;
    std::vector<double> values;
    TensorMap map{};

    Matrix(int rows, int cols, Numbers numbers, Random& random)
        : rows(rows), cols(cols), stride(std::max(16, (cols + 15) / 16 * 16)), codes(std::size_t(rows) * stride, 16) {
        for (int row = 0; row < rows; row++) {
            for (int i = 0; i < cols; i++) {
                unsigned char& code = codes[std::size_t(row) * stride + i];
                code = static_cast<unsigned char>(random.bits());
                if (code % 128 == 127) code--;
                if (numbers == Numbers::Whole) code = encoded(float(random.below(5)) - 2.0f);
                if (row % 7 == 3) code = 0;  // a row of zeros
                if (numbers == Numbers::NotANumber && row == 1 && i == cols / 2) code = 0x7F;
                values.push_back(decoded(code));
            }
        }
        if (cols) map = tensor_map(codes, cols, rows, stride);
    }
    unsigned char code(int row, int col) const { return codes[std::size_t(row) * stride + col]; }
    double at(int row, int col) const { return values[std::size_t(row) * cols + col]; }
};

inline float some_scale(Numbers numbers, Random& random) {
    if (numbers == Numbers::Whole) return std::ldexp(1.0f, int(random.below(5)) - 2);
    if (numbers == Numbers::Outliers && random.below(4) == 0) return random.below(2) ? 1e6f : 1.17549435e-38f;
    return 0.01f + std::fabs(random.uniform());
}

// What a row of a and a row of b give, with the sum of magnitudes.
struct Element {
    double value = 0.0, size = 0.0;
};

template <typename Scale>
Element element(const Matrix& a, int row, const Matrix& b, int col, Scale scale) {
    Element sum;
    for (int k = 0; k < a.cols; k++) {
        const double x = a.at(row, k) * b.at(col, k) * scale(k / 128);
        sum.value += x, sum.size += std::fabs(x);
    }
    return sum;
}

// One code as a whole number and a power of two: code = whole * 2^(exponent - 3).
struct Whole {
    int whole, exponent;
};
inline Whole whole_of(unsigned char code) {
    const int stored = code >> 3 & 15, whole = (stored ? 8 : 0) | (code & 7);
    return {code & 0x80 ? -whole : whole, (stored ? stored : 1) - 7};
}

// The sums of columns from .. to as the tensor core rounds them, in whole numbers: every step of 32 aligns products and
// sum to the largest exponent, cuts each at 13 fraction bits, adds, and cuts what came of it.
inline float stepwise(const Matrix& a, int row, const Matrix& b, int col, int from, int to) {
    float sum = 0.0f;
    for (int step = from; step < to; step += 32) {
        Whole products[32];
        int own = -1000, count = 0, power = 0;
        if (sum != 0.0f) std::frexp(sum, &power), own = power - 1;
        int largest = own;
        for (int k = step; k < std::min(to, step + 32); k++) {
            if (std::isnan(a.at(row, k)) || std::isnan(b.at(col, k))) return std::numeric_limits<float>::quiet_NaN();
            const Whole x = whole_of(a.code(row, k)), y = whole_of(b.code(col, k));
            if (!x.whole || !y.whole) continue;
            products[count++] = {x.whole * y.whole, x.exponent + y.exponent};
            largest = std::max(largest, x.exponent + y.exponent);
        }
        long long total = 0;
        for (int i = 0; i < count; i++) {
            // Six fraction bits become thirteen, less those that alignment pushes out.
            const long long size = (std::llabs(products[i].whole) << 7) >> std::min(largest - products[i].exponent, 62);
            total += products[i].whole < 0 ? -size : size;
        }
        if (own != -1000) {
            const long long size = static_cast<long long>(std::ldexp(std::fabs(sum), 13 - own));
            total += (sum < 0 ? -1 : 1) * (size >> std::min(largest - own, 62));
        }
        long long size = std::llabs(total), below = 0;
        while (size >> below >= 1 << 14) below++;
        size = size >> below << below;
        sum = total ? static_cast<float>(std::ldexp(double(total < 0 ? -size : size), largest - 13)) : 0.0f;
    }
    return sum;
}

// Every 128 columns: scales multiplied, then one fused multiply-add; with a scale of one a plain sum.
template <typename Scale>
float promoted(const Matrix& a, int row, const Matrix& b, int col, Scale scale) {
    float sum = 0.0f;
    for (int from = 0; from < a.cols; from += 128) {
        sum = std::fma(stepwise(a, row, b, col, from, std::min(a.cols, from + 128)), scale(from / 128), sum);
    }
    return sum;
}

inline double stored(float x, const float*) { return x; }
inline double stored(float x, const bf16*) { return widened(narrowed(x)); }

// The bound beside f64: 34 cuts at 2^-13 every step of 32 that is summed `together`, and the roundings of f32 that
// promotion and scales are; bf16 to 2^-9. The order of roundings is compared bit for bit besides.
inline double bound_of(const Element& e, int k, int together, Numbers numbers, bool half) {
    const double cuts = (std::min(k, together) + 31) / 32 * 34.0 / 8192, rounds = 6e-8 * (k / 128 + 6);
    const double exact = numbers == Numbers::Whole ? 0.0 : (cuts + rounds) * e.size + 1.5e-45;
    return exact + (half ? std::fabs(e.value) / 256 : 0.0);
}

inline double read(const float* out, std::size_t at) { return out[at]; }
inline double read(const bf16* out, std::size_t at) { return widened(out[at]); }
