// Operands of the FP8 products under test, and the f64 reference of one element.
//
// In: shapes and a kind of numbers. Out: codes, scales and tensor maps, whose padding is NaN. `Whole`: small integers
// and scales that are powers of two, so that every sum is exact in f32 and results are compared by equality.
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

// The sums of columns from .. to as the emulator rounds them: exact products, one rounding a step of 32. Beside it the
// kernel's own order of scaling, promoting and rounding is compared bit for bit.
inline float stepwise(const Matrix& a, int row, const Matrix& b, int col, int from, int to) {
    float sum = 0.0f;
    for (int step = from; step < to; step += 32) {
        double all = sum;
        for (int k = step; k < std::min(to, step + 32); k++) all += a.at(row, k) * b.at(col, k);
        sum = static_cast<float>(all);
    }
    return sum;
}

// Every 128 columns: scales multiplied, then one fused multiply-add.
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

// The bound beside f64: the emulator rounds once a step of 32, promotion once every 128, scales twice; bf16 to 2^-9.
inline double bound_of(const Element& e, int k, Numbers numbers, bool half) {
    const double exact = numbers == Numbers::Whole ? 0.0 : 6e-8 * (k / 32 + k / 128 + 6) * e.size + 1.5e-45;
    return exact + (half ? std::fabs(e.value) / 256 : 0.0);
}

inline double read(const float* out, std::size_t at) { return out[at]; }
inline double read(const bf16* out, std::size_t at) { return widened(out[at]); }
