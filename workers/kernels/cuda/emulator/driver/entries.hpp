// The kernels by name, as a launch through pointers to arguments calls them.
//
// In: kernels compiled over the emulator, one object a file, each registering its own. Out: an entry with the sizes and
// kinds of its parameters, to be compared with what the machine code says. Knows nothing of streams.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../shim.hpp"
#include "../../ptx.cuh"

namespace driver {

struct Parameter {
    std::size_t bytes, alignment;
    enum Kind { Number, Pointer, Map } kind;
    std::size_t pointed;  // alignment of what a pointer points to
};

struct Entry {
    std::string name;
    std::vector<Parameter> parameters;
    void (*call)(void* const* arguments);
};

std::vector<Entry>& entries();

template <typename T>
Parameter parameter() {
    Parameter::Kind kind = std::is_same_v<T, TensorMap> ? Parameter::Map : Parameter::Number;
    std::size_t pointed = 1;
    if constexpr (std::is_pointer_v<T>) kind = Parameter::Pointer, pointed = alignof(std::remove_pointer_t<T>);
    return {sizeof(T), alignof(T), kind, pointed};
}

template <auto KERNEL, typename... Arguments>
struct Trampoline {
    template <std::size_t... AT>
    static void unpack(void* const* arguments, std::index_sequence<AT...>) {
        KERNEL(*static_cast<Arguments*>(arguments[AT])...);
    }
    static void call(void* const* arguments) { unpack(arguments, std::index_sequence_for<Arguments...>{}); }
};

template <auto KERNEL, typename... Arguments>
int add(const char* name, void (*)(Arguments...)) {
    entries().push_back({name, {parameter<Arguments>()...}, &Trampoline<KERNEL, Arguments...>::call});
    return 0;
}

}  // namespace driver
