// The allocations of memory.hpp.
#include "memory.hpp"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

namespace driver {

Memory& memory = *new Memory;  // outlives every static object

namespace {

constexpr std::size_t PAGE = 4096;

[[noreturn]] void stop(const char* what, const Allocation& of) {
    std::fflush(stdout);
    std::fprintf(stderr, "emulated driver: %s an allocation of %zu bytes\n", what, of.bytes);
    std::_Exit(1);
}

// Whatever of its pages is not its own still has all bits set.
void look_beside(const Allocation& of) {
    const auto* from = reinterpret_cast<const unsigned char*>(of.base);
    for (const unsigned char* at = of.map + PAGE; at < from; at++) {
        if (*at != 0xFF) stop("a write before", of);
    }
    for (const unsigned char* at = from + of.bytes; at < of.map + of.map_bytes - PAGE; at++) {
        if (*at != 0xFF) stop("a write behind", of);
    }
}

}  // namespace

std::uintptr_t Memory::allocate(std::size_t bytes) {
    Allocation made;
    made.bytes = bytes;
    made.map_bytes = ((bytes + ALIGNMENT + PAGE - 1) / PAGE + 2) * PAGE;
    void* map = mmap(nullptr, made.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return 0;
    made.map = static_cast<unsigned char*>(map);
    std::memset(made.map, 0xFF, made.map_bytes);
    const auto end = reinterpret_cast<std::uintptr_t>(made.map + made.map_bytes - PAGE);
    made.base = (end - bytes) / ALIGNMENT * ALIGNMENT;
    mprotect(made.map, PAGE, PROT_NONE);
    mprotect(made.map + made.map_bytes - PAGE, PAGE, PROT_NONE);
    held_ += bytes;
    all_[made.base] = made;
    return made.base;
}

const Allocation* Memory::give_up(std::uintptr_t base) {
    const auto at = all_.find(base);
    if (at == all_.end() || at->second.freed) return nullptr;
    at->second.freed = true;
    held_ -= at->second.bytes;
    return &at->second;
}

void Memory::take_away(std::uintptr_t base) {
    Allocation& own = all_.at(base);
    look_beside(own);
    // New pages in place of the old ones: nothing of them is left, and the address is never given again.
    mmap(own.map, own.map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    own.gone = true;
}

const Allocation* Memory::find(std::uintptr_t at) const {
    auto next = all_.upper_bound(at);
    if (next == all_.begin()) return nullptr;
    const Allocation& found = std::prev(next)->second;
    const auto end = reinterpret_cast<std::uintptr_t>(found.map + found.map_bytes);
    return at < end ? &found : nullptr;
}

const Allocation* Memory::holds(std::uintptr_t from, std::size_t bytes, const char* what) const {
    const Allocation* found = find(from);
    const char* wrong = nullptr;
    if (!found) wrong = "no device memory";
    else if (found->freed) wrong = "freed device memory";
    else if (from < found->base || from > found->base + found->bytes) wrong = "beside its allocation";
    else if (bytes > found->base + found->bytes - from) wrong = "longer than its allocation";
    if (!wrong) return found;
    std::fprintf(stderr, "emulated driver: %s: %zu bytes at %#zx are %s", what, bytes, std::size_t(from), wrong);
    if (found) std::fprintf(stderr, " of %zu bytes, %zu from its beginning", found->bytes, from - found->base);
    std::fprintf(stderr, "\n");
    return nullptr;
}

const char* Memory::words(std::uintptr_t at) const {
    static char line[128];
    const Allocation* found = find(at);
    if (!found) return "no device memory";
    std::snprintf(line, sizeof line, "byte %lld of %s allocation of %zu bytes",
                  static_cast<long long>(at) - static_cast<long long>(found->base), found->gone ? "a freed" : "an",
                  found->bytes);
    return line;
}

std::size_t Memory::leaked(std::size_t& bytes) const {
    std::size_t count = 0;
    bytes = 0;
    for (const auto& [base, one] : all_) {
        if (one.freed) continue;
        look_beside(one);
        count++;
        bytes += one.bytes;
    }
    return count;
}

}  // namespace driver
