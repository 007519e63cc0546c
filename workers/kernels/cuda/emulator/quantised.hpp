// The CPU's quantisation of one row, step by step: what codes and scales are compared with, bit for bit.
//
// In: the row as it was before, codes and scales a kernel gave. Out: comparisons.
#pragma once

#include <limits>

#include "check.hpp"

inline void check_row(int row, const std::vector<float>& y, const unsigned char* codes, const float* scales,
                      bool tiled) {
    const int cols = int(y.size()), width = tiled ? 128 : cols, tiles = (cols + width - 1) / width;
    for (int tile = 0; tile < tiles; tile++) {
        const int from = tile * width, to = std::min(cols, from + width);
        float largest = 0.0f;
        for (int i = from; i < to; i++) {
            if (y[i] == y[i]) largest = std::fmax(largest, std::fabs(y[i]));
        }
        const float most = std::ldexp(1.75f, 127), least = std::numeric_limits<float>::min();
        const float scale = std::fmax(std::fmin(largest, most) / 448.0f, least), factor = 1.0f / scale;
        same("scale", std::size_t(row) * tiles + tile, scales[std::size_t(row) * tiles + tile], scale);
        for (int i = from; i < to; i++) {
            const std::size_t at = std::size_t(row) * cols + i;
            same("code", at, codes[at], encoded(y[i] * factor));
        }
    }
}
