// The functions of cuBLASLt that the host calls, done naively.
//
// In: descriptions, layouts (columns first), matrices on the device. Out: d = alpha * a^T . b + beta * c, of E4M3 with a
// scale a row of either side or of bf16, summed in f64, rounded once to f32 and then to the type of d. Refuses what the
// documentation says the library refuses on compute capability 9.0, and what no caller here asks for. A product is
// submitted to its stream like a launch, so that captures and waits see it.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <vector>

#define EXPORTED extern "C" __attribute__((visibility("default")))

// Of the emulated driver.
extern "C" int emulated_submit(void* stream, const std::function<void()>& work);
extern "C" int emulated_holds(unsigned long long from, unsigned long long bytes, const char* what);

namespace {

enum Status : int { SUCCESS = 0, INVALID_VALUE = 7, EXECUTION_FAILED = 13, NOT_SUPPORTED = 15 };
enum Type : int { SINGLE = 0, BF16 = 14, E4M3 = 28 };
constexpr int COMPUTE_SINGLE = 68, OUTER_VECTOR = 3;
constexpr std::uint64_t CHOSEN = 0x6573756F6820796E;
constexpr std::size_t DEFAULT_ALIGNMENT = 256;

struct Layout {
    int type;
    std::uint64_t rows, cols;
    std::int64_t leading;
};
struct Description {
    int transposed[2] = {0, 0};
    int scale_mode[2] = {0, 0};
    const float* scales[2] = {nullptr, nullptr};
};
struct Preference {
    std::uint64_t workspace = 0;
    std::uint32_t alignment[4] = {DEFAULT_ALIGNMENT, DEFAULT_ALIGNMENT, DEFAULT_ALIGNMENT, DEFAULT_ALIGNMENT};
};
struct Algorithm {
    std::uint64_t words[8];  // CHOSEN, the shape, the types, the workspace, the alignments
};
struct Choice {
    Algorithm algorithm;
    std::size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

Status refuse(Status status, const char* what) {
    std::fprintf(stderr, "emulated cuBLASLt: %s\n", what);
    return status;
}

std::size_t bytes_of(int type) { return type == E4M3 ? 1 : type == BF16 ? 2 : 4; }

std::size_t extent(const Layout& of) { return ((of.cols - 1) * of.leading + of.rows) * bytes_of(of.type); }

double value(const void* from, std::size_t at, int type) {
    if (type == SINGLE) return static_cast<const float*>(from)[at];
    if (type == BF16) {
        const std::uint32_t bits = static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(from)[at]) << 16;
        float x;
        std::memcpy(&x, &bits, 4);
        return x;
    }
    const unsigned code = static_cast<const unsigned char*>(from)[at];
    const int exponent = code >> 3 & 15, fraction = code & 7;
    if (exponent == 15 && fraction == 7) return std::nan("");
    const double size = exponent ? std::ldexp(8 + fraction, exponent - 10) : std::ldexp(fraction, -9);
    return code & 0x80 ? -size : size;
}

void store(void* to, std::size_t at, int type, float x) {
    if (type == SINGLE) {
        static_cast<float*>(to)[at] = x;
        return;
    }
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    static_cast<std::uint16_t*>(to)[at] = x != x ? 0x7FFF : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}

// Whether there is such a product: a [k, m] transposed, b [k, n], c and d [m, n], in the library's own order.
Status look_at(const Description& of, const Layout& a, const Layout& b, const Layout& c, const Layout& d) {
    if (!of.transposed[0] || of.transposed[1]) return refuse(NOT_SUPPORTED, "a product that is not a^T . b");
    if (a.rows != b.rows || a.cols != d.rows || b.cols != d.cols) return refuse(INVALID_VALUE, "shapes do not fit");
    if (std::memcmp(&c, &d, sizeof c)) return refuse(NOT_SUPPORTED, "another layout of c than of d");
    for (const Layout* one : {&a, &b, &d}) {
        if (!one->rows || !one->cols || one->leading < static_cast<std::int64_t>(one->rows))
            return refuse(INVALID_VALUE, "a matrix of no size, or of rows that overlap");
    }
    if (a.type != b.type) return refuse(NOT_SUPPORTED, "operands of two types");
    if (a.type == BF16) {
        return d.type == BF16 || d.type == SINGLE ? SUCCESS : refuse(NOT_SUPPORTED, "bf16 into another type");
    }
    if (a.type != E4M3 || (d.type != BF16 && d.type != SINGLE)) return refuse(NOT_SUPPORTED, "types");
    for (int i = 0; i < 2; i++) {
        if (of.scale_mode[i] != OUTER_VECTOR) return refuse(NOT_SUPPORTED, "E4M3 without a scale a row");
        if (!of.scales[i]) return refuse(INVALID_VALUE, "E4M3 without the address of its scales");
        if (reinterpret_cast<std::uintptr_t>(of.scales[i]) % 16) return refuse(INVALID_VALUE, "scales not aligned");
    }
    // Eight-bit operands: every row of every matrix begins at a multiple of 16 bytes.
    if (a.leading % 16 || b.leading % 16 || d.leading * bytes_of(d.type) % 16 || a.rows % 16) {
        return refuse(NOT_SUPPORTED, "E4M3 of a size that is no multiple of 16");
    }
    return SUCCESS;
}

struct Product {
    Layout a, b, d;
    Description of;
    float alpha, beta;
    const void *left, *right;
    const void* before;
    void* out;

    void run() const {
        const std::uint64_t k = a.rows;
        std::vector<double> x(k * a.cols), y(k * b.cols);
        for (std::uint64_t col = 0; col < a.cols; col++) {
            for (std::uint64_t i = 0; i < k; i++) x[col * k + i] = value(left, col * a.leading + i, a.type);
        }
        for (std::uint64_t col = 0; col < b.cols; col++) {
            for (std::uint64_t i = 0; i < k; i++) y[col * k + i] = value(right, col * b.leading + i, b.type);
        }
        for (std::uint64_t col = 0; col < d.cols; col++) {
            for (std::uint64_t row = 0; row < d.rows; row++) {
                double sum = 0;
                for (std::uint64_t i = 0; i < k; i++) sum += x[row * k + i] * y[col * k + i];
                if (a.type == E4M3) sum *= static_cast<double>(of.scales[0][row]) * of.scales[1][col];
                sum *= alpha;
                const std::size_t at = col * d.leading + row;
                if (beta != 0) sum += beta * value(before, at, d.type);  // otherwise c is not read
                store(out, at, d.type, static_cast<float>(sum));
            }
        }
    }
};

}  // namespace

EXPORTED Status cublasLtCreate(void** handle) {
    *handle = new int(0);
    return SUCCESS;
}
EXPORTED Status cublasLtDestroy(void* handle) {
    delete static_cast<int*>(handle);
    return SUCCESS;
}

EXPORTED Status cublasLtMatrixLayoutCreate(void** layout, int type, std::uint64_t rows, std::uint64_t cols,
                                           std::int64_t leading) {
    *layout = new Layout{type, rows, cols, leading};
    return SUCCESS;
}
EXPORTED Status cublasLtMatrixLayoutDestroy(void* layout) {
    delete static_cast<Layout*>(layout);
    return SUCCESS;
}

EXPORTED Status cublasLtMatmulDescCreate(void** description, int compute, int scale) {
    if (compute != COMPUTE_SINGLE || scale != SINGLE) return refuse(NOT_SUPPORTED, "sums of another type than f32");
    *description = new Description;
    return SUCCESS;
}
EXPORTED Status cublasLtMatmulDescDestroy(void* description) {
    delete static_cast<Description*>(description);
    return SUCCESS;
}
EXPORTED Status cublasLtMatmulDescSetAttribute(void* description, int attribute, const void* from, std::size_t bytes) {
    Description& of = *static_cast<Description*>(description);
    const auto take = [&](void* to, std::size_t size) {
        if (bytes != size) return refuse(INVALID_VALUE, "an attribute of another size");
        std::memcpy(to, from, size);
        return SUCCESS;
    };
    switch (attribute) {
        case 3: return take(&of.transposed[0], 4);
        case 4: return take(&of.transposed[1], 4);
        case 17: return take(&of.scales[0], 8);
        case 18: return take(&of.scales[1], 8);
        case 31: return take(&of.scale_mode[0], 4);
        case 32: return take(&of.scale_mode[1], 4);
        default: return refuse(NOT_SUPPORTED, "an attribute of a product that is not emulated");
    }
}

EXPORTED Status cublasLtMatmulPreferenceCreate(void** preference) {
    *preference = new Preference;
    return SUCCESS;
}
EXPORTED Status cublasLtMatmulPreferenceDestroy(void* preference) {
    delete static_cast<Preference*>(preference);
    return SUCCESS;
}
EXPORTED Status cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* from,
                                                     std::size_t bytes) {
    constexpr int WORKSPACE = 1, ALIGNMENTS = 5;
    Preference& of = *static_cast<Preference*>(preference);
    if (attribute == WORKSPACE && bytes == 8) {
        std::memcpy(&of.workspace, from, 8);
        return SUCCESS;
    }
    if (attribute < ALIGNMENTS || attribute >= ALIGNMENTS + 4 || bytes != 4)
        return refuse(NOT_SUPPORTED, "a preference that is not emulated");
    std::memcpy(&of.alignment[attribute - ALIGNMENTS], from, 4);
    return SUCCESS;
}

EXPORTED Status cublasLtMatmulAlgoGetHeuristic(void*, void* description, void* a, void* b, void* c, void* d,
                                               void* preference, int asked, Choice* choices, int* count) {
    *count = 0;
    if (asked < 1) return INVALID_VALUE;
    const auto &left = *static_cast<Layout*>(a), &right = *static_cast<Layout*>(b), &out = *static_cast<Layout*>(d);
    const Status status = look_at(*static_cast<Description*>(description), left, right, *static_cast<Layout*>(c), out);
    if (status) return status;
    const Preference& preferred = *static_cast<Preference*>(preference);
    std::uint64_t alignments = 0;
    for (int i = 0; i < 4; i++) alignments |= static_cast<std::uint64_t>(preferred.alignment[i]) << 16 * i;
    choices[0] = {};
    choices[0].algorithm = {{CHOSEN, left.cols, right.cols, left.rows, static_cast<std::uint64_t>(left.type),
                             static_cast<std::uint64_t>(out.type), preferred.workspace, alignments}};
    choices[0].workspace = preferred.workspace;
    *count = 1;
    return SUCCESS;
}

EXPORTED Status cublasLtMatmul(void*, void* description, const void* alpha, const void* a, void* a_layout,
                               const void* b, void* b_layout, const void* beta, const void* c, void* c_layout, void* d,
                               void* d_layout, const Algorithm* algorithm, void* workspace, std::size_t workspace_bytes,
                               void* stream) {
    const auto &left = *static_cast<Layout*>(a_layout), &right = *static_cast<Layout*>(b_layout),
               &out = *static_cast<Layout*>(d_layout);
    const Description& of = *static_cast<Description*>(description);
    if (const Status status = look_at(of, left, right, *static_cast<Layout*>(c_layout), out)) return status;
    const std::uint64_t shape[] = {CHOSEN, left.cols, right.cols, left.rows, static_cast<std::uint64_t>(left.type),
                                   static_cast<std::uint64_t>(out.type)};
    if (!algorithm || std::memcmp(algorithm->words, shape, sizeof shape))
        return refuse(INVALID_VALUE, "an algorithm chosen for another product");
    const auto holds = [](const void* from, std::size_t bytes, const char* what) {
        return emulated_holds(reinterpret_cast<std::uintptr_t>(from), bytes, what) != 0;
    };
    if (workspace_bytes < algorithm->words[6] || !holds(workspace, algorithm->words[6], "workspace of a product"))
        return refuse(INVALID_VALUE, "less workspace than the algorithm was chosen with");
    if (!holds(a, extent(left), "left of a product") || !holds(b, extent(right), "right of a product") ||
        !holds(c, extent(out), "c of a product") || !holds(d, extent(out), "out of a product"))
        return EXECUTION_FAILED;
    const void* matrices[] = {a, b, c, d};
    for (int i = 0; i < 4; i++) {
        // The algorithm was chosen for matrices that are aligned like that.
        if (reinterpret_cast<std::uintptr_t>(matrices[i]) % (algorithm->words[7] >> 16 * i & 0xFFFF))
            return refuse(INVALID_VALUE, "a matrix not aligned as the preference says");
    }
    if (left.type == E4M3 && (!holds(of.scales[0], 4 * left.cols, "left scales of a product") ||
                              !holds(of.scales[1], 4 * right.cols, "right scales of a product")))
        return EXECUTION_FAILED;
    const Product product{left, right, out, of, *static_cast<const float*>(alpha), *static_cast<const float*>(beta),
                          a, b, c, d};
    const char* planted = std::getenv("EMULATED_FAULT");
    if (planted && !std::strcmp(planted, "library") && left.type == E4M3) return SUCCESS;
    return emulated_submit(stream, [product] { product.run(); }) ? EXECUTION_FAILED : SUCCESS;
}
