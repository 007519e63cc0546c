// What the emulator is checked by before a result of it is believed: each instruction that our kernels use above
// AVX-512 against plain arithmetic written from the manual, and what the kernel has to do for tiles.
//
// Comes in: nothing. Goes out: a line for each check; exit status 0 when all hold. The values are fixed, so that a run
// repeats. It never asks for more than a Sapphire Rapids has; on one it runs as well.

#include <cmath>
#include <cpuid.h>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <immintrin.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#define TILES __attribute__((target("amx-tile,amx-bf16,amx-int8")))
#define VECTORS __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

static int failures;

static void check(const char *what, bool holds)
{
    std::printf("%-72s %s\n", what, holds ? "ok" : "FAILED");
    std::fflush(stdout);
    failures += !holds;
}

static uint64_t state = 1;
static uint32_t random_bits()
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return uint32_t(state >> 33) ^ uint32_t(state >> 11);
}

static uint32_t bits(float value)
{
    uint32_t found;
    std::memcpy(&found, &value, sizeof found);
    return found;
}

static float number(uint32_t value)
{
    float found;
    std::memcpy(&found, &value, sizeof found);
    return found;
}

static float widen(uint16_t value) { return number(uint32_t(value) << 16); }

// Denormals count as zeros, and come out as zeros.
static float flushed(float value)
{
    return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value;
}
static float fused(float a, float b, float sum) { return flushed(std::fma(flushed(a), flushed(b), flushed(sum))); }
static float added(float a, float b) { return flushed(flushed(a) + flushed(b)); }

// bf16 of size about 1; every eighth of another size, every 32nd zero or a denormal.
static uint16_t some_bf16()
{
    uint32_t chance = random_bits();
    if (chance % 32 == 0)
        return chance & 0x807f;
    uint32_t exponent = chance % 8 ? 120 + chance / 64 % 10 : 70 + chance / 64 % 110;
    return uint16_t((random_bits() & 0x807f) | exponent << 7);
}

static float some_f32() { return number((random_bits() & 0x807fffff) | (110 + random_bits() % 40) << 23); }

// --- tiles ---

struct alignas(64) Shapes {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {};
    uint8_t rows[16] = {};
};

struct Sizes {
    int m, n, k; // rows of the sums, their columns, words of the depth
};

static Shapes shapes(Sizes of)
{
    Shapes made;
    made.row_bytes[0] = uint16_t(4 * of.n), made.rows[0] = uint8_t(of.m);
    made.row_bytes[1] = uint16_t(4 * of.k), made.rows[1] = uint8_t(of.m);
    made.row_bytes[2] = uint16_t(4 * of.n), made.rows[2] = uint8_t(of.k);
    return made;
}

// What g++'s intrinsics do not tell the compiler: that all of a configuration and of a tile is read or written.
template <typename Data> static inline void touched(Data &data) { asm volatile("" ::"r"(&data) : "memory"); }

constexpr int STRIDE = 80; // bytes from row to row: more than a row has

struct Operands {
    alignas(64) uint8_t sums[16 * STRIDE], left[16 * STRIDE], right[16 * STRIDE];
    uint32_t &sum(int row, int col) { return reinterpret_cast<uint32_t *>(sums + row * STRIDE)[col]; }
};

enum class Product { Bf16, SignedSigned, SignedUnsigned, UnsignedSigned, UnsignedUnsigned };

TILES static void multiply(Product what, const Shapes &shapes, Operands &with)
{
    touched(shapes);
    touched(with);
    _tile_loadconfig(&shapes);
    _tile_loadd(0, with.sums, STRIDE);
    _tile_loadd(1, with.left, STRIDE);
    _tile_loadd(2, with.right, STRIDE);
    switch (what) {
    case Product::Bf16: _tile_dpbf16ps(0, 1, 2); break;
    case Product::SignedSigned: _tile_dpbssd(0, 1, 2); break;
    case Product::SignedUnsigned: _tile_dpbsud(0, 1, 2); break;
    case Product::UnsignedSigned: _tile_dpbusd(0, 1, 2); break;
    case Product::UnsignedUnsigned: _tile_dpbuud(0, 1, 2); break;
    }
    _tile_stored(0, with.sums, STRIDE);
    _tile_release();
    touched(with);
}

static void expect_bf16(Sizes of, Operands &with)
{
    auto value = [](uint8_t *of, int row, int at) {
        return widen(reinterpret_cast<uint16_t *>(of + row * STRIDE)[at]);
    };
    for (int row = 0; row < of.m; row++)
        for (int col = 0; col < of.n; col++) {
            float even = 0, odd = 0;
            for (int k = 0; k < of.k; k++) {
                even = fused(value(with.left, row, 2 * k), value(with.right, k, 2 * col), even);
                odd = fused(value(with.left, row, 2 * k + 1), value(with.right, k, 2 * col + 1), odd);
            }
            with.sum(row, col) = bits(added(number(with.sum(row, col)), added(even, odd)));
        }
}

static void expect_bytes(Product what, Sizes of, Operands &with)
{
    bool left_signed = what == Product::SignedSigned || what == Product::SignedUnsigned;
    bool right_signed = what == Product::SignedSigned || what == Product::UnsignedSigned;
    auto value = [](uint8_t byte, bool is_signed) { return is_signed ? int32_t(int8_t(byte)) : int32_t(byte); };
    for (int row = 0; row < of.m; row++)
        for (int col = 0; col < of.n; col++)
            for (int at = 0; at < 4 * of.k; at++)
                with.sum(row, col) += uint32_t(value(with.left[row * STRIDE + at], left_signed) *
                                               value(with.right[at / 4 * STRIDE + 4 * col + at % 4], right_signed));
}

static bool products_agree(Product what)
{
    const Sizes sizes[] = {{16, 16, 16}, {1, 1, 1}, {3, 5, 7}, {16, 9, 2}, {9, 16, 15}, {16, 1, 16}};
    for (Sizes of : sizes)
        for (int round = 0; round < 8; round++) {
            Operands found;
            for (auto *side : {found.left, found.right})
                for (int at = 0; at < 16 * STRIDE; at += 2) {
                    uint16_t value = what == Product::Bf16 ? some_bf16() : uint16_t(random_bits());
                    std::memcpy(side + at, &value, 2);
                }
            for (int at = 0; at < 16 * STRIDE / 4; at++)
                reinterpret_cast<uint32_t *>(found.sums)[at] = what == Product::Bf16 ? bits(some_f32()) : random_bits();
            Operands wanted = found;
            multiply(what, shapes(of), found);
            if (what == Product::Bf16)
                expect_bf16(of, wanted);
            else
                expect_bytes(what, of, wanted);
            // All of it, also what lies between the rows.
            for (int at = 0; at < 16 * STRIDE / 4; at++) {
                uint32_t one = reinterpret_cast<uint32_t *>(found.sums)[at];
                uint32_t other = reinterpret_cast<uint32_t *>(wanted.sums)[at];
                if (one != other) {
                    std::printf("  %d x %d x %d, word %d: %08x, not %08x\n", of.m, of.n, of.k, at, one, other);
                    return false;
                }
            }
        }
    return true;
}

TILES static bool zeroed_and_told()
{
    Shapes set = shapes({16, 16, 16}), told;
    std::memset(static_cast<void *>(&told), 0xff, sizeof told);
    alignas(64) uint8_t data[1024];
    std::memset(data, 0xaa, sizeof data);
    set.row_bytes[7] = 64, set.rows[7] = 16;
    touched(set), touched(told), touched(data);
    _tile_loadconfig(&set);
    _tile_loadd(7, data, 64);
    _tile_zero(7);
    _tile_stored(7, data, 64);
    _tile_storeconfig(&told);
    _tile_release();
    touched(told), touched(data);
    bool zeros = true;
    for (uint8_t byte : data)
        zeros &= byte == 0;
    return zeros && std::memcmp(&set, &told, sizeof set) == 0;
}

// Tiles stay what they are while others use theirs: every round ends in a change of context.
TILES static bool kept(int who)
{
    Sizes of = who % 2 ? Sizes{16, 16, 16} : Sizes{11, 13, 5};
    Shapes set = shapes(of), told;
    alignas(64) uint8_t in[3][1024], out[1024];
    for (auto &tile : in)
        for (int at = 0; at < 1024; at++)
            tile[at] = uint8_t(at * 7 + who * 31 + (&tile - in) * 101);
    touched(set), touched(told), touched(in), touched(out);
    _tile_loadconfig(&set);
    _tile_loadd(0, in[0], 64);
    _tile_loadd(1, in[1], 64);
    _tile_loadd(2, in[2], 64);
    for (int round = 0; round < 50; round++)
        sched_yield();
    bool same = true;
    auto compare = [&](int tile) {
        touched(out);
        for (int row = 0; row < set.rows[tile]; row++)
            same &= std::memcmp(in[tile] + row * 64, out + row * 64, set.row_bytes[tile]) == 0;
    };
    _tile_stored(0, out, 64);
    compare(0);
    _tile_stored(1, out, 64);
    compare(1);
    _tile_stored(2, out, 64);
    compare(2);
    _tile_storeconfig(&told);
    _tile_release();
    touched(told);
    return same && std::memcmp(&set, &told, sizeof set) == 0;
}

// Exit status of a child that does something; the signal + 128 where one ended it.
template <typename Deed> static pid_t begin(Deed deed)
{
    pid_t child = fork();
    if (child == 0)
        _exit(deed());
    return child;
}

static int ended(pid_t child)
{
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

TILES static int configure_only()
{
    Shapes set = shapes({16, 16, 16});
    touched(set);
    _tile_loadconfig(&set);
    _tile_release();
    return 0;
}

static bool processes_keep()
{
    pid_t children[4];
    for (int who = 0; who < 4; who++)
        children[who] = begin([who] { return kept(who) ? 0 : 1; });
    bool same = true;
    for (pid_t child : children)
        same &= ended(child) == 0;
    return same;
}

static bool threads_keep()
{
    bool same[4] = {};
    std::vector<std::thread> threads;
    for (int who = 0; who < 4; who++)
        threads.emplace_back([who, &same] { same[who] = kept(who); });
    for (auto &thread : threads)
        thread.join();
    return same[0] && same[1] && same[2] && same[3];
}

// --- vectors ---

static uint16_t narrow(float value)
{
    uint32_t from = bits(flushed(value));
    if (std::isnan(value))
        return uint16_t(from >> 16 | 0x40);
    return uint16_t((from + 0x7fff + (from >> 16 & 1)) >> 16);
}

VECTORS static bool dot_agrees()
{
    for (int round = 0; round < 200; round++) {
        uint16_t left[32], right[32];
        float sums[16], found[16];
        for (int at = 0; at < 32; at++)
            left[at] = some_bf16(), right[at] = some_bf16();
        for (float &sum : sums)
            sum = some_f32();
        __m512bh a = (__m512bh)_mm512_loadu_si512(left), b = (__m512bh)_mm512_loadu_si512(right);
        // Every other time with a side in memory, one vector below a register: a displacement of a byte.
        __m512 sum = _mm512_loadu_ps(sums);
        if (round % 2)
            asm("vdpbf16ps -64(%2), %1, %0" : "+v"(sum) : "v"(a), "r"(right + 32), "m"(right));
        else
            sum = _mm512_dpbf16_ps(sum, a, b);
        _mm512_storeu_ps(found, sum);
        for (int at = 0; at < 16; at++) {
            float wanted = fused(widen(left[2 * at + 1]), widen(right[2 * at + 1]), sums[at]);
            wanted = fused(widen(left[2 * at]), widen(right[2 * at]), wanted);
            if (bits(found[at]) != bits(wanted)) {
                std::printf("  lane %d: %08x, not %08x\n", at, bits(found[at]), bits(wanted));
                return false;
            }
        }
    }
    return true;
}

static float any_f32(int round)
{
    uint32_t value = random_bits();
    return number(round % 2 ? value : (value & 0xffff0000) | 0x8000); // half-way cases, infinities, NaN, denormals too
}

VECTORS static bool conversions_agree()
{
    for (int round = 0; round < 400; round++) {
        float low[16], high[16];
        for (int at = 0; at < 16; at++)
            low[at] = any_f32(round), high[at] = any_f32(round);
        uint16_t both[32], half[16], merged[16], before[16];
        for (uint16_t &value : before)
            value = uint16_t(random_bits());
        auto mask = __mmask16(random_bits());
        _mm512_storeu_si512(both, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(high), _mm512_loadu_ps(low)));
        _mm256_storeu_si256((__m256i *)half, (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(low)));
        __m256bh kept = (__m256bh)_mm256_loadu_si256((const __m256i *)before);
        _mm256_storeu_si256((__m256i *)merged, (__m256i)_mm512_mask_cvtneps_pbh(kept, mask, _mm512_loadu_ps(low)));
        for (int at = 0; at < 16; at++)
            if (both[at] != narrow(low[at]) || both[16 + at] != narrow(high[at]) || half[at] != narrow(low[at]) ||
                merged[at] != (mask >> at & 1 ? narrow(low[at]) : before[at])) {
                std::printf("  lane %d of %08x, %08x: %04x %04x %04x %04x\n", at, bits(low[at]), bits(high[at]),
                            both[at], both[16 + at], half[at], merged[at]);
                return false;
            }
    }
    return true;
}

int main()
{
    unsigned a, b, c, d;
    __cpuid_count(7, 0, a, b, c, d);
    check("CPUID: AMX-TILE, AMX-BF16, AMX-INT8", (d >> 24 & 1) && (d >> 22 & 1) && (d >> 25 & 1));
    __cpuid_count(7, 1, a, b, c, d);
    check("CPUID: AVX512_BF16", a >> 5 & 1);

    constexpr long REQUEST = 0x1023, TILE_DATA = 18;
    check("a process that has not asked gets SIGILL for a tile", ended(begin(configure_only)) == 128 + 4);
    check("the kernel gives permission", syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0);
    check("a process that has asked gets tiles, and its children do", ended(begin(configure_only)) == 0);

    check("TILELOADD, TDPBF16PS, TILESTORED", products_agree(Product::Bf16));
    check("TDPBSSD", products_agree(Product::SignedSigned));
    check("TDPBSUD", products_agree(Product::SignedUnsigned));
    check("TDPBUSD", products_agree(Product::UnsignedSigned));
    check("TDPBUUD", products_agree(Product::UnsignedUnsigned));
    check("TILEZERO, STTILECFG", zeroed_and_told());
    check("tiles outlast a change of context between processes", processes_keep());
    check("tiles outlast a change of context between threads", threads_keep());
    check("VDPBF16PS", dot_agrees());
    check("VCVTNE2PS2BF16, VCVTNEPS2BF16 whole and merged", conversions_agree());
    std::printf("%s\n", failures ? "the emulator is not to be believed" : "all hold");
    return failures != 0;
}
