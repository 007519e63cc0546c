// Stands in for the instructions of ptx.cuh, after the PTX ISA's words, decoding every descriptor and layout anew.
//
// In: the operands a kernel gives. Out: what the documentation says happens, or a breach: a descriptor that leaves
// shared memory, a product without its fence, sums touched while a product is under way, a barrier used before it is
// initialised. Warpgroup products of E4M3 round as tensor_core.hpp says; those of bf16 are summed in f64 and rounded once.
#pragma once

#include <array>
#include <map>

#include "tensor_core.hpp"

inline unsigned to_bf16(float x) {
    const unsigned bits = __float_as_uint(x);
    if (x != x) return 0x7FFF;
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}
inline unsigned to_bf16x2(float low, float high) { return to_bf16(low) | to_bf16(high) << 16; }

// The value of a code, from the format's definition: 1 sign, 4 exponent bits of bias 7, 3 of fraction.
inline double value_of_e4m3(unsigned char code) {
    const int exponent = code >> 3 & 15, fraction = code & 7;
    if (exponent == 15 && fraction == 7) return std::nan("");
    const double size = exponent ? std::ldexp(8 + fraction, exponent - 10) : std::ldexp(fraction, -9);
    return code & 0x80 ? -size : size;
}

// The nearest of all codes; of two equally near the even one.
inline unsigned char encode_e4m3(float x) {
    if (x != x) return 0x7F;
    const double size = std::fmin(std::fabs(static_cast<double>(x)), 448.0);
    int low = 0, high = 0x7E;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (value_of_e4m3(static_cast<unsigned char>(middle)) <= size) low = middle;
        else high = middle - 1;
    }
    int code = low;
    if (low < 0x7E) {
        const double down = size - value_of_e4m3(static_cast<unsigned char>(low));
        const double up = value_of_e4m3(static_cast<unsigned char>(low + 1)) - size;
        if (up < down || (up == down && low % 2)) code = low + 1;
    }
    return static_cast<unsigned char>(code | (std::signbit(x) ? 0x80 : 0));
}

inline void decode_e4m3x4(unsigned codes, float (&x)[4]) {
    for (int i = 0; i < 4; i++) x[i] = static_cast<float>(value_of_e4m3(static_cast<unsigned char>(codes >> 8 * i)));
}

namespace emulator {

inline unsigned char* shared_at(unsigned address, unsigned bytes) {
    const Region region = shared_region();
    if (address + bytes > region.size) fail("shared address %u is outside shared memory", address);
    return region.from + address;
}

struct Barrier {
    int expected = 0, pending = 0;
    long long bytes = 0;
    unsigned phases = 0;
};
inline std::map<const void*, Barrier> barriers;

inline Barrier& barrier_at(const void* at) {
    const auto found = barriers.find(at);
    if (found == barriers.end()) fail("an mbarrier that is not initialised");
    return found->second;
}

inline void step_barrier(Barrier& barrier) {
    machine.progress++;
    if (barrier.pending < 0) fail("more arrivals at an mbarrier than it was initialised for");
    if (barrier.pending || barrier.bytes) return;
    barrier.pending = barrier.expected;
    barrier.phases++;
}

// What a tensor map holds here: made by `tensor_map`, read by `tma_load_2d`.
struct Map {
    const unsigned char* base;
    std::uint64_t cols, rows, stride, box_cols, box_rows, swizzle, magic;
};
constexpr std::uint64_t MAP_MAGIC = 0x4D41505F54454E53;
enum Swizzle : std::uint64_t { None = 0, By128 = 3 };

// Codes [rows, cols], `stride` bytes a row, in boxes of 128 x 128, zeros outside.
inline Map map_of(const unsigned char* base, std::uint64_t cols, std::uint64_t rows, std::uint64_t stride) {
    if (reinterpret_cast<std::uintptr_t>(base) % 16 || stride % 16 || stride < cols)
        fail("a tensor map no driver makes");
    return {base, cols, rows, stride, 128, 128, By128, MAP_MAGIC};
}

// --- matrix products under way, by warp ---

struct Product {
    std::uint64_t a, b;
    bool accumulate;
    int sums;  // index into Warp::sums
};
struct Sums {
    std::array<float*, 32> at;
    std::array<std::array<float, 64>, 32> values;
    int under_way = 0;
};
struct Warp {
    std::vector<Sums> sums;
    std::vector<Product> open;
    std::deque<std::vector<Product>> groups;
    bool fenced = false;
};
inline std::map<unsigned, Warp> warps;
struct Chunk {
    void* to;
    const void* from;
    bool copy;
};
struct Copies {
    std::vector<Chunk> open;
    std::deque<std::vector<Chunk>> groups;
};
inline std::map<unsigned, Copies> chunk_copies;  // by thread
constexpr unsigned UNDER_WAY = 0x7FBADBAD;       // what sums hold meanwhile: NaN

// Byte `at` of row `row` of an operand: K-major, the descriptor's own fields.
inline unsigned char operand(std::uint64_t descriptor, int row, int at) {
    const unsigned start = (descriptor & 0x3FFF) << 4, leading = (descriptor >> 16 & 0x3FFF) << 4;
    const unsigned stride = (descriptor >> 32 & 0x3FFF) << 4, base = descriptor >> 49 & 7, mode = descriptor >> 62;
    if (base) fail("a matrix descriptor with a base offset");
    static constexpr unsigned WIDTHS[4] = {16, 128, 64, 32}, BITS[4] = {0, 7, 3, 1};
    unsigned address = start + row / 8 * stride + row % 8 * WIDTHS[mode];
    address += mode ? at : at / 16 * leading + at % 16;
    address ^= (address >> 7 & BITS[mode]) << 4;
    return *shared_at(address, 1);
}

// The sixteen rows of one warp.
inline void multiply(Warp& warp, unsigned warp_index, const Product& product) {
    Codes a[16];
    static Codes b[128];
    for (int row = 0; row < 16; row++) {
        a[row].read([&](int at) { return operand(product.a, warp_index % 4 * 16 + row, at); });
    }
    for (int row = 0; row < 128; row++) {
        b[row].read([&](int at) { return operand(product.b, row, at); });
    }
    Sums& sums = warp.sums[product.sums];
    for (int lane = 0; lane < 32; lane++) {
        for (int i = 0; i < 64; i++) {
            const int row = lane / 4 + i % 4 / 2 * 8, col = i / 4 * 8 + lane % 4 * 2 + i % 2;
            float& sum = sums.values[lane][i];
            sum = tensor_core_step(a[row], b[col], product.accumulate ? sum : 0.0f);
        }
    }
    if (--sums.under_way) return;
    for (int lane = 0; lane < 32; lane++) {
        for (int i = 0; i < 64; i++) {
            if (__float_as_uint(sums.at[lane][i]) != UNDER_WAY) fail("sums were written while a product was under way");
            sums.at[lane][i] = sums.values[lane][i];
        }
    }
}

inline const bool registered = [] {
    machine.at_start.push_back([] {
        barriers.clear();
        warps.clear();
        chunk_copies.clear();
    });
    machine.at_end.push_back([] {
        for (auto& [index, warp] : warps) {
            if (!warp.open.empty() || !warp.groups.empty()) fail("warp %u ends with products under way", index);
        }
        for (auto& [address, barrier] : barriers) {
            if (barrier.bytes) fail("an mbarrier ends with bytes outstanding");
        }
    });
    return true;
}();

}  // namespace emulator

inline TensorMap tensor_map(const unsigned char* base, std::size_t cols, std::size_t rows, std::size_t stride) {
    const emulator::Map map = emulator::map_of(base, cols, rows, stride);
    TensorMap opaque{};
    static_assert(sizeof(map) <= sizeof(opaque));
    std::memcpy(&opaque, &map, sizeof(map));
    return opaque;
}

inline unsigned shared_address(const void* pointer) {
    const emulator::Region region = emulator::shared_region();
    const std::ptrdiff_t at = static_cast<const unsigned char*>(pointer) - region.from;
    if (at < 0 || at >= static_cast<std::ptrdiff_t>(region.size)) emulator::fail("not a shared address");
    return static_cast<unsigned>(at);
}

inline void mbarrier_init(unsigned long long* barrier, unsigned arrivals) {
    if (shared_address(barrier) % 8) emulator::fail("an mbarrier that is not aligned");
    const int count = static_cast<int>(arrivals);
    emulator::barriers[barrier] = {count, count, 0, 0};
}
inline void fence_barrier_init() {}
inline void mbarrier_arrive(unsigned long long* barrier) {
    emulator::Barrier& own = emulator::barrier_at(barrier);
    own.pending--;
    emulator::step_barrier(own);
}
inline void mbarrier_expect(unsigned long long* barrier, unsigned bytes) {
    emulator::Barrier& own = emulator::barrier_at(barrier);
    own.bytes += bytes;
    own.pending--;
    emulator::step_barrier(own);
}
inline void mbarrier_wait(unsigned long long* barrier, unsigned parity) {
    const emulator::Barrier& own = emulator::barrier_at(barrier);
    emulator::wait_until([&] { return (own.phases & 1) != parity; }, "mbarrier_wait");
}

inline void tma_prefetch(const TensorMap*) {}

inline void tma_load_2d(void* to, const TensorMap* map, unsigned long long* barrier, int x, int y) {
    emulator::Map own;
    std::memcpy(&own, map, sizeof(own));
    if (own.magic != emulator::MAP_MAGIC) emulator::fail("a bulk copy by something that is no tensor map");
    const unsigned address = shared_address(to), bytes = static_cast<unsigned>(own.box_cols * own.box_rows);
    if (address % 128) emulator::fail("a bulk copy to an address that is not a multiple of 128");
    emulator::Barrier& arrival = emulator::barrier_at(barrier);
    // Until the copy arrives nobody may read what stands here.
    std::memset(emulator::shared_at(address, bytes), 0xFF, bytes);
    auto copy = [own, address, x, y, &arrival] {
        for (unsigned row = 0; row < own.box_rows; row++) {
            for (unsigned col = 0; col < own.box_cols; col++) {
                const long long from_row = static_cast<long long>(y) + row, from_col = static_cast<long long>(x) + col;
                const bool inside = from_row >= 0 && from_row < static_cast<long long>(own.rows) && from_col >= 0 &&
                                    from_col < static_cast<long long>(own.cols);
                // Sixteen-byte pieces change places by the row they are in: bits 4 to 6 with bits 7 to 9.
                const unsigned place = address + row * 128 + col;
                const unsigned piece =
                    own.swizzle == emulator::By128 ? (place / 16 ^ place / 128 % 8) * 16 : place / 16 * 16;
                *emulator::shared_at(piece + place % 16, 1) = inside ? own.base[from_row * own.stride + from_col] : 0;
            }
        }
        arrival.bytes -= static_cast<long long>(own.box_cols * own.box_rows);
        emulator::step_barrier(arrival);
    };
    if (emulator::order.late) emulator::machine.copies.push_back(copy);
    else copy();
}

inline void wgmma_fence() {
    emulator::exchange(0xFFFFFFFFu, 0, "wgmma_fence");
    emulator::warps[threadIdx.x / 32].fenced = true;
}

inline void wgmma_e4m3_m64n128k32(float (&d)[64], unsigned long long a, unsigned long long b, bool accumulate) {
    using namespace emulator;
    const std::uint64_t* left = exchange(0xFFFFFFFFu, a, "wgmma");
    for (int lane = 0; lane < 32; lane++) {
        if (left[lane] != a) fail("lanes give different descriptors");
    }
    const std::uint64_t* places = exchange(0xFFFFFFFFu, reinterpret_cast<std::uint64_t>(&d[0]), "wgmma");
    Warp& warp = warps[threadIdx.x / 32];
    if (!warp.fenced) fail("a product without wgmma_fence before it");
    if (threadIdx.x % 32 == 0) {
        int at = 0;
        while (at < static_cast<int>(warp.sums.size()) && warp.sums[at].at[0] != d) at++;
        if (at == static_cast<int>(warp.sums.size())) warp.sums.emplace_back();
        Sums& sums = warp.sums[at];
        for (int lane = 0; lane < 32 && sums.under_way == 0; lane++) {
            sums.at[lane] = reinterpret_cast<float*>(places[lane]);
            for (int i = 0; i < 64; i++) {
                sums.values[lane][i] = sums.at[lane][i];
                sums.at[lane][i] = __uint_as_float(UNDER_WAY);
            }
        }
        sums.under_way++;
        warp.open.push_back({a, b, accumulate, at});
    }
    exchange(0xFFFFFFFFu, 0, "wgmma");
}

inline void wgmma_commit() {
    using namespace emulator;
    exchange(0xFFFFFFFFu, 0, "wgmma_commit");
    Warp& warp = warps[threadIdx.x / 32];
    if (threadIdx.x % 32 == 0) {
        warp.groups.push_back(std::move(warp.open));
        warp.open.clear();
        warp.fenced = false;
    }
    exchange(0xFFFFFFFFu, 0, "wgmma_commit");
}

template <int PENDING>
inline void wgmma_wait(float (&)[64]) {
    using namespace emulator;
    exchange(0xFFFFFFFFu, 0, "wgmma_wait");
    Warp& warp = warps[threadIdx.x / 32];
    if (threadIdx.x % 32 == 0) {
        // As late as this wait allows, or as early as it may.
        const std::size_t left = order.late ? PENDING : 0;
        while (warp.groups.size() > left) {
            for (const Product& product : warp.groups.front()) multiply(warp, threadIdx.x / 32, product);
            warp.groups.pop_front();
        }
    }
    exchange(0xFFFFFFFFu, 0, "wgmma_wait");
}

inline void cp_async_16(void* to, const void* from, bool copy) {
    if (shared_address(to) % 16 || reinterpret_cast<std::uintptr_t>(from) % 16)
        emulator::fail("cp_async_16 not aligned");
    std::memset(emulator::shared_at(shared_address(to), 16), 0xFF, 16);
    emulator::chunk_copies[threadIdx.x].open.push_back({to, from, copy});
}
inline void cp_async_commit() {
    emulator::Copies& own = emulator::chunk_copies[threadIdx.x];
    own.groups.push_back(std::move(own.open));
    own.open.clear();
}
template <int PENDING>
inline void cp_async_wait() {
    emulator::Copies& own = emulator::chunk_copies[threadIdx.x];
    const std::size_t left = emulator::order.late ? PENDING : 0;
    while (own.groups.size() > left) {
        for (const emulator::Chunk& chunk : own.groups.front()) {
            if (chunk.copy) std::memcpy(chunk.to, chunk.from, 16);
            else std::memset(chunk.to, 0, 16);
        }
        own.groups.pop_front();
    }
}

template <bool TRANSPOSED>
inline void emulated_ldmatrix(unsigned (&r)[4], const void* row) {
    const unsigned address = shared_address(row), lane = threadIdx.x % 32;
    if (address % 16) emulator::fail("ldmatrix of a row that is not aligned");
    const std::uint64_t* rows = emulator::exchange(0xFFFFFFFFu, address, TRANSPOSED ? "ldmatrix.trans" : "ldmatrix");
    const auto element = [&](int matrix, unsigned down, unsigned right) {
        bf16 x;
        std::memcpy(&x, emulator::shared_at(static_cast<unsigned>(rows[matrix * 8 + down]) + 2 * right, 2), 2);
        return static_cast<unsigned>(x);
    };
    for (int matrix = 0; matrix < 4; matrix++) {
        const unsigned line = lane / 4, pair = lane % 4 * 2;
        r[matrix] = TRANSPOSED ? element(matrix, pair, line) | element(matrix, pair + 1, line) << 16
                               : element(matrix, line, pair) | element(matrix, line, pair + 1) << 16;
    }
}
inline void ldmatrix_x4(unsigned (&r)[4], const void* row) { emulated_ldmatrix<false>(r, row); }
inline void ldmatrix_x4_transposed(unsigned (&r)[4], const void* row) { emulated_ldmatrix<true>(r, row); }

inline void mma_bf16_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const auto low = [](std::uint64_t pair) { return from_bf16(static_cast<bf16>(pair)); };
    const auto high = [](std::uint64_t pair) { return from_bf16(static_cast<bf16>(pair >> 16)); };
    double left[16][16], right[16][8];
    for (int i = 0; i < 4; i++) {
        const std::uint64_t* all = emulator::exchange(0xFFFFFFFFu, a[i], "mma");
        for (int lane = 0; lane < 32; lane++) {
            const int row = lane / 4 + i % 2 * 8, col = lane % 4 * 2 + i / 2 * 8;
            left[row][col] = low(all[lane]);
            left[row][col + 1] = high(all[lane]);
        }
    }
    for (int i = 0; i < 2; i++) {
        const std::uint64_t* all = emulator::exchange(0xFFFFFFFFu, i ? b1 : b0, "mma");
        for (int lane = 0; lane < 32; lane++) {
            right[lane % 4 * 2 + i * 8][lane / 4] = low(all[lane]);
            right[lane % 4 * 2 + i * 8 + 1][lane / 4] = high(all[lane]);
        }
    }
    const int lane = threadIdx.x % 32;
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4 + i / 2 * 8, col = lane % 4 * 2 + i % 2;
        double sum = d[i];
        for (int k = 0; k < 16; k++) sum += left[row][k] * right[k][col];
        d[i] = static_cast<float>(sum);
    }
}
