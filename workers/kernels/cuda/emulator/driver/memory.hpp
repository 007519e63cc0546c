// Device memory as host memory that is watched.
//
// In: sizes, addresses. Out: allocations between pages that must not be touched, aligned as the driver's (256 bytes), all
// bits set until written. A freed allocation stays known and untouchable for ever, so that a late touch names it. What
// lies between an allocation and its pages is looked at when it is freed. Never gives an address twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace driver {

constexpr std::size_t ALIGNMENT = 256;

struct Allocation {
    std::uintptr_t base = 0;
    std::size_t bytes = 0;
    unsigned char* map = nullptr;
    std::size_t map_bytes = 0;
    bool freed = false;  // by the host, whatever still runs
    bool gone = false;   // in the stream's order
};

class Memory {
public:
    std::uintptr_t allocate(std::size_t bytes);
    // The host gives it up: later calls may not name it. Null where there is no such allocation.
    const Allocation* give_up(std::uintptr_t base);
    // What ran before has run: nobody may touch it.
    void take_away(std::uintptr_t base);
    // The live allocation that holds all of these bytes; null, after a line that says why, where there is none.
    const Allocation* holds(std::uintptr_t from, std::size_t bytes, const char* what) const;
    // The allocation an address is in or next to, in words.
    const char* words(std::uintptr_t at) const;
    // How many were never given up.
    std::size_t leaked(std::size_t& bytes) const;
    std::size_t held() const { return held_; }

private:
    const Allocation* find(std::uintptr_t at) const;
    std::map<std::uintptr_t, Allocation> all_;
    std::size_t held_ = 0;
};

extern Memory& memory;

}  // namespace driver
