// The calls of the driver beside streams: the device, its context, memory, modules and launches.
//
// In: what the host passes through the driver's interface. Out: what the documentation says a driver does with it, done by
// the emulator, and a line on stderr beside every refusal that a fault of the host could cause. It names itself an
// emulator. At its end memory that was never freed is an exit status of its own.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <string>

#include "context.hpp"
#include "cubin.hpp"
#include "entries.hpp"
#include "faults.hpp"
#include "memory.hpp"

namespace driver {

std::vector<Entry>& entries() {
    static std::vector<Entry> all;
    return all;
}

namespace {

constexpr const char* NAME = "emulator (no device)";
constexpr int MULTIPROCESSORS = 3;  // few, so that blocks take several tiles
constexpr std::size_t MEMORY = 4ull << 30;
constexpr int LEAKED = 97;
constexpr unsigned PLAIN_SHARED = 48 << 10, MOST_SHARED = 227 << 10;

bool started = false;
unsigned retained = 0, launches = 0;
char the_context;
std::map<std::thread::id, void*> current;

struct Module {
    std::map<std::string, MachineCode> code;
};
struct Function {
    const Entry* entry;
    MachineCode code;
    unsigned dynamic;  // bytes a launch may ask for
};
std::set<Module*> modules;
std::map<std::pair<Module*, std::string>, Function> functions;

Function* function_of(void* handle) {
    for (auto& [key, function] : functions) {
        if (&function == handle) return &function;
    }
    return nullptr;
}

template <typename... Values>
Status refuse(Status status, const char* format, Values... values) {
    std::fprintf(stderr, "emulated driver: ");
    std::fprintf(stderr, format, values...);
    std::fprintf(stderr, "\n");
    return status;
}

const char* describe(const void* at) { return memory.words(reinterpret_cast<std::uintptr_t>(at)); }

// Looks at memory nobody freed once the host is done.
struct AtEnd {
    ~AtEnd() {
        std::size_t bytes, count = memory.leaked(bytes);
        if (!count) return;
        std::fprintf(stderr, "emulated driver: %zu allocations of %zu bytes were never freed\n", count, bytes);
        std::fflush(nullptr);
        std::_Exit(LEAKED);
    }
} at_end;

}  // namespace

Status ready(const char* call) {
    if (!started) return refuse(ERROR_NOT_INITIALIZED, "%s before cuInit", call);
    if (!current[std::this_thread::get_id()]) return refuse(ERROR_INVALID_CONTEXT, "%s without a context", call);
    return SUCCESS;
}

}  // namespace driver

using namespace driver;

int emulated_holds(unsigned long long from, unsigned long long bytes, const char* what) {
    const Guard guard(mutex);
    return memory.holds(from, bytes, what) != nullptr;
}

// --- the device and its context ---

EXPORTED Status cuInit(unsigned flags) {
    const Guard guard(mutex);
    if (flags) return ERROR_INVALID_VALUE;
    started = true;
    emulator::explain = describe;
    return SUCCESS;
}

EXPORTED Status cuDriverGetVersion(int* version) {
    *version = 12080;
    return SUCCESS;
}

EXPORTED Status cuDeviceGetCount(int* count) {
    *count = 1;
    return started ? SUCCESS : ERROR_NOT_INITIALIZED;
}

EXPORTED Status cuDeviceGet(int* device, int ordinal) {
    *device = 0;
    return !started ? ERROR_NOT_INITIALIZED : ordinal ? ERROR_INVALID_DEVICE : SUCCESS;
}

EXPORTED Status cuDeviceGetName(char* name, int length, int device) {
    if (device || length <= 0) return ERROR_INVALID_VALUE;
    std::snprintf(name, static_cast<std::size_t>(length), "%s", NAME);
    return SUCCESS;
}

EXPORTED Status cuDeviceGetAttribute(int* value, int attribute, int device) {
    if (device) return ERROR_INVALID_DEVICE;
    switch (attribute) {
        case 16: *value = MULTIPROCESSORS; return SUCCESS;
        case 75: *value = 9; return SUCCESS;
        case 76: *value = 0; return SUCCESS;
        case 115: *value = 1; return SUCCESS;  // memory in a stream's order
        default: return refuse(ERROR_NOT_SUPPORTED, "attribute %d of the device", attribute);
    }
}

EXPORTED Status cuDeviceTotalMem_v2(std::size_t* bytes, int device) {
    *bytes = MEMORY;
    return device ? ERROR_INVALID_DEVICE : SUCCESS;
}

EXPORTED Status cuDevicePrimaryCtxRetain(void** context, int device) {
    const Guard guard(mutex);
    if (!started || device) return ERROR_INVALID_DEVICE;
    retained++;
    *context = &the_context;
    return SUCCESS;
}

EXPORTED Status cuDevicePrimaryCtxRelease_v2(int device) {
    const Guard guard(mutex);
    if (device || !retained) return ERROR_INVALID_CONTEXT;
    if (!--retained) drain_all();
    return SUCCESS;
}

EXPORTED Status cuCtxGetCurrent(void** context) {
    const Guard guard(mutex);
    *context = current[std::this_thread::get_id()];
    return started ? SUCCESS : ERROR_NOT_INITIALIZED;
}

EXPORTED Status cuCtxSetCurrent(void* context) {
    const Guard guard(mutex);
    if (context && (context != &the_context || !retained)) return ERROR_INVALID_CONTEXT;
    current[std::this_thread::get_id()] = context;
    return SUCCESS;
}

EXPORTED Status cuGetErrorName(int status, const char** name) {
    switch (status) {
#define EMULATED_STATUS(NAME, VALUE) \
    case VALUE: *name = "CUDA_" #NAME; return SUCCESS;
        EMULATED_STATUSES(EMULATED_STATUS)
#undef EMULATED_STATUS
        default: *name = nullptr; return ERROR_INVALID_VALUE;
    }
}

EXPORTED Status cuGetErrorString(int status, const char** words) { return cuGetErrorName(status, words); }

// --- memory ---

static Status allocate(unsigned long long* to, std::size_t bytes) {
    if (!bytes) return refuse(ERROR_INVALID_VALUE, "memory of %d bytes", 0);
    if (memory.held() + bytes > MEMORY) return ERROR_OUT_OF_MEMORY;
    if (fault().is("short", std::to_string(bytes))) bytes -= fault().number(2);
    *to = memory.allocate(bytes);
    return *to ? SUCCESS : ERROR_OUT_OF_MEMORY;
}

EXPORTED Status cuMemAlloc_v2(unsigned long long* to, std::size_t bytes) {
    ENTER("cuMemAlloc");
    if (const Status status = forbid_while_capturing("cuMemAlloc")) return status;
    return allocate(to, bytes);
}

EXPORTED Status cuMemFree_v2(unsigned long long from) {
    ENTER("cuMemFree");
    if (const Status status = forbid_while_capturing("cuMemFree")) return status;
    if (!from) return SUCCESS;
    if (!memory.give_up(from)) return refuse(ERROR_INVALID_VALUE, "freeing of %#llx, which is no allocation", from);
    drain_all();
    memory.take_away(from);
    return SUCCESS;
}

EXPORTED Status cuMemAllocAsync(unsigned long long* to, std::size_t bytes, void* handle) {
    ENTER("cuMemAllocAsync");
    Stream* stream = stream_of(handle);
    if (!stream) return ERROR_INVALID_HANDLE;
    if (stream->state != Stream::Plain) {
        // A driver would make it a node that allocates at each launch; whoever asks here has not meant that.
        stream->state = Stream::Broken;
        return refuse(ERROR_STREAM_CAPTURE_UNSUPPORTED, "memory of %zu bytes in a stream that is captured", bytes);
    }
    return allocate(to, bytes);
}

EXPORTED Status cuMemFreeAsync(unsigned long long from, void* handle) {
    ENTER("cuMemFreeAsync");
    Stream* stream = stream_of(handle);
    if (!stream) return ERROR_INVALID_HANDLE;
    if (stream->state != Stream::Plain) {
        stream->state = Stream::Broken;
        return refuse(ERROR_STREAM_CAPTURE_UNSUPPORTED, "freeing of %#llx in a stream that is captured", from);
    }
    if (fault().is("keep")) return SUCCESS;
    if (!memory.give_up(from)) return refuse(ERROR_INVALID_VALUE, "freeing of %#llx, which is no allocation", from);
    return submit(stream, [from] { memory.take_away(from); });
}

// Host memory here is always pageable: a graph would read it when it runs, long after.
static Status only_plain(Stream* stream, const char* call) {
    if (!stream) return ERROR_INVALID_HANDLE;
    if (stream->state == Stream::Plain) return SUCCESS;
    stream->state = Stream::Broken;
    return refuse(ERROR_STREAM_CAPTURE_UNSUPPORTED, "%s of pageable memory in a stream that is captured", call);
}

EXPORTED Status cuMemcpyHtoDAsync_v2(unsigned long long to, const void* from, std::size_t bytes, void* handle) {
    ENTER("cuMemcpyHtoDAsync");
    Stream* stream = stream_of(handle);
    if (const Status status = only_plain(stream, "copy")) return status;
    if (!memory.holds(to, bytes, "copy to the device")) return ERROR_INVALID_VALUE;
    // Pageable memory is staged before the call returns.
    const auto* first = static_cast<const unsigned char*>(from);
    const std::vector<unsigned char> staged(first, first + bytes);
    return submit(stream, [to, staged] { std::memcpy(reinterpret_cast<void*>(to), staged.data(), staged.size()); });
}

EXPORTED Status cuMemcpyDtoHAsync_v2(void* to, unsigned long long from, std::size_t bytes, void* handle) {
    ENTER("cuMemcpyDtoHAsync");
    Stream* stream = stream_of(handle);
    if (const Status status = only_plain(stream, "copy")) return status;
    if (!memory.holds(from, bytes, "copy from the device")) return ERROR_INVALID_VALUE;
    // To pageable memory the call returns once the copy is done.
    if (!fault().is("early")) drain(*stream);
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return SUCCESS;
}

EXPORTED Status cuMemcpyDtoDAsync_v2(unsigned long long to, unsigned long long from, std::size_t bytes, void* handle) {
    ENTER("cuMemcpyDtoDAsync");
    if (!memory.holds(from, bytes, "copy on the device") || !memory.holds(to, bytes, "copy on the device"))
        return ERROR_INVALID_VALUE;
    return submit(stream_of(handle),
                  [=] { std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes); });
}

EXPORTED Status cuMemsetD8Async(unsigned long long to, unsigned char value, std::size_t bytes, void* handle) {
    ENTER("cuMemsetD8Async");
    if (fault().is("short", std::to_string(bytes))) bytes -= fault().number(2);
    if (!memory.holds(to, bytes, "filling")) return ERROR_INVALID_VALUE;
    return submit(stream_of(handle), [=] { std::memset(reinterpret_cast<void*>(to), value, bytes); });
}

// --- modules ---

EXPORTED Status cuModuleLoadData(void** module, const void* image) {
    ENTER("cuModuleLoadData");
    if (const Status status = forbid_while_capturing("cuModuleLoadData")) return status;
    auto* made = new Module;
    if (!read_cubin(image, made->code)) {
        delete made;
        return refuse(ERROR_INVALID_IMAGE, "an image that is no machine code of a device%s", "");
    }
    modules.insert(made);
    *module = made;
    return SUCCESS;
}

EXPORTED Status cuModuleUnload(void* handle) {
    ENTER("cuModuleUnload");
    auto* module = static_cast<Module*>(handle);
    if (!modules.erase(module)) return ERROR_INVALID_HANDLE;
    drain_all();
    for (auto at = functions.begin(); at != functions.end();) {
        if (at->first.first == module) at = functions.erase(at);
        else ++at;
    }
    delete module;
    return SUCCESS;
}

EXPORTED Status cuModuleGetFunction(void** function, void* handle, const char* name) {
    ENTER("cuModuleGetFunction");
    auto* module = static_cast<Module*>(handle);
    if (!modules.count(module)) return ERROR_INVALID_HANDLE;
    const auto code = module->code.find(name);
    if (code == module->code.end()) return refuse(ERROR_NOT_FOUND, "no entry %s in the module", name);
    for (const Entry& entry : entries()) {
        if (entry.name != name) continue;
        const auto& parameters = code->second.parameters;
        bool same = parameters.size() == entry.parameters.size();
        std::size_t at = code->second.first;
        for (std::size_t i = 0; same && i < parameters.size(); i++) {
            const auto [bytes, alignment, kind, pointed] = entry.parameters[i];
            at = (at + alignment - 1) / alignment * alignment;
            same = parameters[i].first == at - code->second.first && parameters[i].second == bytes;
            at += bytes;
        }
        if (!same) return refuse(ERROR_INVALID_IMAGE, "%s has other parameters in the machine code", name);
        const auto made = functions.try_emplace({module, name}, Function{&entry, code->second, 0}).first;
        // Without being told, a launch may ask for what a block has plainly, less what the entry has of its own.
        made->second.dynamic = PLAIN_SHARED - std::min(PLAIN_SHARED, code->second.shared);
        *function = &made->second;
        return SUCCESS;
    }
    return refuse(ERROR_NOT_FOUND, "no source of %s was compiled for the emulator", name);
}

constexpr int MOST_DYNAMIC = 8;

EXPORTED Status cuFuncSetAttribute(void* handle, int attribute, int value) {
    ENTER("cuFuncSetAttribute");
    Function* function = function_of(handle);
    if (!function) return ERROR_INVALID_HANDLE;
    if (attribute != MOST_DYNAMIC) return ERROR_NOT_SUPPORTED;
    if (value < 0 || value + function->code.shared > MOST_SHARED) {
        return refuse(ERROR_INVALID_VALUE, "%d bytes of shared memory for %s, which has %u of its own", value,
                      function->entry->name.c_str(), function->code.shared);
    }
    function->dynamic = static_cast<unsigned>(value);
    return SUCCESS;
}

EXPORTED Status cuFuncGetAttribute(int* value, int attribute, void* handle) {
    ENTER("cuFuncGetAttribute");
    const Function* function = function_of(handle);
    if (!function) return ERROR_INVALID_HANDLE;
    switch (attribute) {
        case 0: *value = static_cast<int>(function->code.threads); return SUCCESS;
        case 1: *value = static_cast<int>(function->code.shared); return SUCCESS;
        case MOST_DYNAMIC: *value = static_cast<int>(function->dynamic); return SUCCESS;
        default: return ERROR_NOT_SUPPORTED;
    }
}

// --- launches ---

// Whether the arguments are what a kernel of these parameters can take.
static Status look_at(const Entry& entry, const std::vector<const void*>& arguments) {
    for (std::size_t i = 0; i < entry.parameters.size(); i++) {
        const Parameter& parameter = entry.parameters[i];
        std::uintptr_t address = 0;
        std::string what = "argument " + std::to_string(i) + " of " + entry.name;
        if (parameter.kind == Parameter::Pointer) {
            std::memcpy(&address, arguments[i], sizeof address);
            if (!address) continue;
            if (!memory.holds(address, 1, what.c_str())) return ERROR_ILLEGAL_ADDRESS;
            if (address % parameter.pointed) return refuse(ERROR_ILLEGAL_ADDRESS, "%s is not aligned", what.c_str());
        } else if (parameter.kind == Parameter::Map) {
            emulator::Map map;
            std::memcpy(&map, arguments[i], sizeof map);
            if (!map.magic && !map.base) continue;  // of an empty matrix, never read
            if (map.magic != emulator::MAP_MAGIC)
                return refuse(ERROR_INVALID_VALUE, "%s is no tensor map", what.c_str());
            address = reinterpret_cast<std::uintptr_t>(map.base);
            const std::size_t extent = (map.rows - 1) * map.stride + map.cols;
            if (!memory.holds(address, extent, what.c_str())) return ERROR_ILLEGAL_ADDRESS;
        }
    }
    return SUCCESS;
}

EXPORTED Status cuLaunchKernel(void* handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                               unsigned block_y, unsigned block_z, unsigned shared, void* on, void** arguments,
                               void** extra) {
    ENTER("cuLaunchKernel");
    const Function* function = function_of(handle);
    Stream* stream = stream_of(on);
    if (!function || !stream) return ERROR_INVALID_HANDLE;
    const Entry& entry = *function->entry;
    const char* name = entry.name.c_str();
    if (extra || !arguments) return refuse(ERROR_INVALID_VALUE, "arguments of %s in another form", name);
    if (!grid_x || !grid_y || !grid_z || grid_x > 0x7FFFFFFF || grid_y > 65535 || grid_z > 65535)
        return refuse(ERROR_INVALID_VALUE, "a grid of %u x %u x %u for %s", grid_x, grid_y, grid_z, name);
    if (block_y != 1 || block_z != 1 || !block_x || block_x > 1024)
        return refuse(ERROR_INVALID_VALUE, "a block of %u x %u x %u for %s", block_x, block_y, block_z, name);
    if (block_x > function->code.threads)
        return refuse(ERROR_INVALID_VALUE, "%u threads for %s, compiled for %u", block_x, name, function->code.threads);
    if (shared > function->dynamic)
        return refuse(ERROR_INVALID_VALUE, "%u bytes of shared memory for %s, which may have %u", shared, name,
                      function->dynamic);
    // The arguments are read now, whenever the kernel runs.
    struct alignas(64) Slot {
        unsigned char bytes[128];
    };
    std::vector<Slot> copies(entry.parameters.size());
    for (std::size_t i = 0; i < copies.size(); i++) {
        std::memcpy(copies[i].bytes, arguments[i], entry.parameters[i].bytes);
    }
    if (fault().is("swap", name)) std::swap(copies[fault().number(2)], copies[fault().number(3)]);
    if (fault().is("add", name)) {
        int changed;
        std::memcpy(&changed, copies[fault().number(2)].bytes, sizeof changed);
        changed += static_cast<int>(fault().number(3));
        std::memcpy(copies[fault().number(2)].bytes, &changed, sizeof changed);
    }
    if (fault().is("fewer", name) && grid_x > 1) grid_x--;
    if (fault().is("forget", name) && stream->state == Stream::Capturing) return SUCCESS;
    std::vector<const void*> given;
    for (const Slot& slot : copies) given.push_back(slot.bytes);
    if (const Status status = look_at(entry, given)) return status;
    return submit(stream, [&entry, copies, grid_x, grid_y, grid_z, block_x, shared]() mutable {
        std::vector<void*> pointers;
        for (Slot& slot : copies) pointers.push_back(slot.bytes);
        static std::string said;
        emulator::order = emulator::ORDERS[launches++ % 2];
        said = entry.name + ", " + emulator::order.name;
        emulator::order.name = said.c_str();
        emulator::launch({grid_x, grid_y, grid_z}, block_x, shared, [&] { entry.call(pointers.data()); });
    });
}

// --- tensor maps ---

EXPORTED Status cuTensorMapEncodeTiled(void* to, int type, unsigned rank, void* address,
                                       const unsigned long long* sizes, const unsigned long long* strides,
                                       const unsigned* box, const unsigned* steps, int interleave, int swizzle,
                                       int /* promotion */, int fill) {
    ENTER("cuTensorMapEncodeTiled");
    constexpr int BYTES = 0, BY_128 = 3;
    const auto base = reinterpret_cast<std::uintptr_t>(address);
    const auto wrong = [](const char* what) { return refuse(ERROR_INVALID_VALUE, "a tensor map: %s", what); };
    if (reinterpret_cast<std::uintptr_t>(to) % 64) return wrong("itself not at a multiple of 64");
    if (type != BYTES || rank != 2 || interleave || fill) return wrong("of a kind that no kernel here reads");
    if (base % 16) return wrong("data not at a multiple of 16");
    for (int i = 0; i < 2; i++) {
        if (!sizes[i] || sizes[i] > 1ull << 32) return wrong("a size of 0, or over 2^32");
        if (!box[i] || box[i] > 256) return wrong("a box of 0, or over 256");
        if (!steps[i] || steps[i] > 8) return wrong("a step of 0, or over 8");
    }
    if (strides[0] % 16 || strides[0] >= 1ull << 40) return wrong("rows not a multiple of 16 apart, or 2^40 and more");
    if (strides[0] < sizes[0]) return wrong("rows that overlap");
    if (box[0] % 16) return wrong("a box whose rows are no multiple of 16 bytes");
    if (swizzle == BY_128 && box[0] > 128) return wrong("a box wider than its swizzle");
    if (swizzle != BY_128 || steps[0] != 1 || steps[1] != 1) return wrong("of a kind that no kernel here reads");
    if (!memory.holds(base, (sizes[1] - 1) * strides[0] + sizes[0], "a tensor map")) return ERROR_INVALID_VALUE;
    TensorMap opaque{};
    const emulator::Map map{static_cast<const unsigned char*>(address), sizes[0], sizes[1], strides[0],
                            box[0], box[1], emulator::By128, emulator::MAP_MAGIC};
    std::memcpy(&opaque, &map, sizeof map);
    std::memcpy(to, &opaque, sizeof opaque);
    return SUCCESS;
}
