// Faults of a host, planted between it and the driver, so that a run shows that the checks see them.
//
// In: the environment's EMULATED_FAULT, words apart by colons. Out: the calls as a host with that fault would make them:
//   swap:ENTRY:I:J        launches of an entry with two arguments exchanged
//   add:ENTRY:I:N         launches of an entry with N added to an integer
//   fewer:ENTRY           launches of an entry with a block less
//   forget:ENTRY          launches of an entry that a graph lacks
//   short:BYTES:N         allocations of so many bytes that are N shorter
//   early                 copies from the device that do not wait
//   library               products of E4M3 by the library that are not launched
//   keep                  nothing is ever freed
// Without it every call goes through as it is.
#pragma once

#include <cstdlib>
#include <string>
#include <vector>

namespace driver {

class Fault {
public:
    Fault() {
        const char* given = std::getenv("EMULATED_FAULT");
        std::string word;
        for (const char* at = given ? given : ""; *at; at++) {
            if (*at == ':') words_.push_back(word), word.clear();
            else word += *at;
        }
        if (given) words_.push_back(word);
    }
    // Whether it is this one, of this entry or number of bytes where it names one.
    bool is(const char* kind, const std::string& of = "") const {
        return !words_.empty() && words_[0] == kind && (of.empty() || (words_.size() > 1 && words_[1] == of));
    }
    std::size_t number(std::size_t at) const {
        return at < words_.size() ? std::strtoull(words_[at].c_str(), nullptr, 10) : 0;
    }

private:
    std::vector<std::string> words_;
};

inline const Fault& fault() {
    static const Fault planted;
    return planted;
}

}  // namespace driver
