// What machine code says of its entries.
//
// In: a cubin, an ELF file as the loader gets it. Out: by entry the offset and size of each parameter, the threads of a
// block at most, bytes of static shared memory; nothing where the bytes are no such file. Reads no instruction.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace driver {

struct MachineCode {
    std::vector<std::pair<unsigned, unsigned>> parameters;  // offset, size
    unsigned first = 0;  // where parameters begin, in the memory they are passed in
    unsigned threads = 1024;
    unsigned shared = 0;
};

namespace elf {

template <typename T>
T at(const unsigned char* from, std::size_t offset) {
    T value;
    std::memcpy(&value, from + offset, sizeof value);
    return value;
}

// Attributes of an entry: a byte of form, a byte of kind, then two bytes of value or of length.
inline void attributes(MachineCode& of, const unsigned char* from, std::size_t bytes) {
    constexpr unsigned SIZED = 4, PARAMETER = 0x17, PLACE = 0x0A, MOST_THREADS = 0x05;
    for (std::size_t i = 0; i + 4 <= bytes;) {
        const unsigned form = from[i], kind = from[i + 1], length = at<std::uint16_t>(from, i + 2);
        i += 4;
        if (form != SIZED) continue;
        if (kind == PARAMETER && length >= 12) {
            const unsigned ordinal = at<std::uint16_t>(from, i + 4), offset = at<std::uint16_t>(from, i + 6);
            if (of.parameters.size() <= ordinal) of.parameters.resize(ordinal + 1);
            of.parameters[ordinal] = {offset, at<std::uint32_t>(from, i + 8) >> 18};
        }
        if (kind == PLACE && length >= 8) of.first = at<std::uint16_t>(from, i + 4);
        if (kind == MOST_THREADS && length >= 4) of.threads = at<std::uint32_t>(from, i);
        i += length;
    }
}

}  // namespace elf

inline bool read_cubin(const void* image, std::map<std::string, MachineCode>& found) {
    constexpr std::uint16_t CUDA = 190;
    constexpr unsigned RESERVED_SHARED = 1024;  // a block's, counted by the section but not by the limit
    const auto* file = static_cast<const unsigned char*>(image);
    if (!file || std::memcmp(file, "\x7f" "ELF", 4) || elf::at<std::uint16_t>(file, 18) != CUDA) return false;
    const auto headers = elf::at<std::uint64_t>(file, 0x28);
    const unsigned count = elf::at<std::uint16_t>(file, 0x3C), names = elf::at<std::uint16_t>(file, 0x3E);
    const auto field = [&](unsigned section, std::size_t offset) {
        return elf::at<std::uint64_t>(file, headers + 64 * section + offset);
    };
    const auto* words = reinterpret_cast<const char*>(file + field(names, 24));
    const auto each = [&](const char* prefix, auto use) {
        for (unsigned section = 0; section < count; section++) {
            const char* name = words + elf::at<std::uint32_t>(file, headers + 64 * section);
            const std::size_t length = std::strlen(prefix);
            if (!std::strncmp(name, prefix, length)) use(name + length, file + field(section, 24), field(section, 32));
        }
    };
    each(".text.", [&](const char* name, const unsigned char*, std::size_t) { found[name]; });
    each(".nv.info.", [&](const char* name, const unsigned char* from, std::size_t bytes) {
        if (found.count(name)) elf::attributes(found[name], from, bytes);
    });
    each(".nv.shared.", [&](const char* name, const unsigned char*, std::size_t bytes) {
        if (found.count(name) && bytes > RESERVED_SHARED) found[name].shared = bytes - RESERVED_SHARED;
    });
    return !found.empty();
}

}  // namespace driver
