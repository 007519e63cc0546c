// Blocks of threads as fibres of one operating system thread.
//
// In: a grid, a block size, dynamic shared memory, a kernel call. Out: its effects, or the first breach, named with its
// thread: a barrier nobody else reaches, lanes at different operations, a touch outside all buffers. A fibre runs until
// it has to wait; warps run as far ahead of each other as they can, or all threads by turns, so that a missing barrier
// shows as a poisoned or stale value in one order or another. Shared memory is poisoned (all bits set: NaN in every
// format) before each block. Asynchronous copies and products happen at once or as late as their waits allow: `late`.
#pragma once

#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <vector>

struct Index {
    unsigned x = 0, y = 0, z = 0;
};
inline Index threadIdx, blockIdx;
struct Extent {
    unsigned x = 1, y = 1, z = 1;
};
inline Extent blockDim, gridDim;

// The block's dynamic shared memory, and the names kernels declare it by. Aligned to 16 and no more, on purpose.
struct alignas(1024) DynamicShared {
    unsigned char before[16];
    unsigned char bytes[232448 + 1024];
};
#ifdef EMULATOR_PART  // One of several objects of a library: another holds the memory.
extern thread_local DynamicShared emulator_dynamic;
#else
thread_local DynamicShared emulator_dynamic;
asm(R"(
.globl shared_memory
.type shared_memory, @tls_object
.set shared_memory, emulator_dynamic + 16
.globl row
.type row, @tls_object
.set row, emulator_dynamic + 16
)");
#endif

namespace emulator {

constexpr std::size_t MOST_SHARED = 232448;  // of a block on compute capability 9.0
constexpr std::size_t STACK = 128 << 10, PAGE = 4096;
constexpr unsigned MOST_THREADS = 1024;

// How a launch is run.
struct Order {
    enum { Forward, Backward, Shuffled } threads = Forward;
    bool late = false;
    const char* name = "";
};
inline const Order ORDERS[] = {{Order::Forward, false, "first warps ahead, copies at once"},
                               {Order::Backward, true, "last warps ahead, copies late"},
                               {Order::Shuffled, true, "all by turns, shuffled, copies late"}};
inline Order order;

[[noreturn]] inline void fail(const char* format, ...) {
    va_list list;
    va_start(list, format);
    std::fflush(stdout);
    std::fprintf(stderr, "block (%u, %u, %u) thread %u (%s): ", blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x,
                 order.name);
    std::vfprintf(stderr, format, list);
    std::fprintf(stderr, "\n");
    va_end(list);
    std::_Exit(1);
}

struct Fibre {
    ucontext_t context;
    void* stack_pointer = nullptr;
    bool done = false;
    const char* waiting = nullptr;
    unsigned x = 0;
};

// Lanes that meet at one warp operation.
struct Meeting {
    unsigned mask = 0, arrived = 0, rounds = 0;
    const char* what = nullptr;
    std::uint64_t values[2][32] = {};
};

struct Machine {
    std::vector<Fibre> fibres;
    Fibre* current = nullptr;
    void* home = nullptr;
    unsigned char* stacks = nullptr;
    std::function<void()> body;
    std::uint64_t progress = 0, random = 1;
    unsigned at_barrier = 0, barrier_rounds = 0;
    std::deque<Meeting> meetings[32];          // by warp
    std::deque<std::function<void()>> copies;  // bulk copies under way
    std::vector<std::function<void()>> at_start, at_end;
};
inline Machine machine;

inline std::uint64_t next_random() {
    std::uint64_t& x = machine.random;
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return x;
}

#if defined(__x86_64__)
extern "C" void emulator_switch(void** from, void* to);
#ifndef EMULATOR_PART
asm(R"(
.text
.globl emulator_switch
emulator_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
)");
#endif
#else
inline ucontext_t home_context;
#endif

inline void leave() {
#if defined(__x86_64__)
    emulator_switch(&machine.current->stack_pointer, machine.home);
#else
    swapcontext(&machine.current->context, &home_context);
#endif
}

inline void enter(Fibre& fibre) {
    machine.current = &fibre;
    threadIdx = {fibre.x, 0, 0};
#if defined(__x86_64__)
    emulator_switch(&machine.home, fibre.stack_pointer);
#else
    swapcontext(&home_context, &fibre.context);
#endif
}

inline void run_fibre() {
    machine.body();
    machine.current->done = true;
    machine.progress++;
    leave();
    std::abort();
}

inline void make_fibre(Fibre& fibre, unsigned x) {
    fibre = Fibre{};
    fibre.x = x;
    unsigned char* stack = machine.stacks + x * STACK;
#if defined(__x86_64__)
    void** top = reinterpret_cast<void**>(stack + STACK) - 2;
    *top = reinterpret_cast<void*>(&run_fibre);
    fibre.stack_pointer = top - 6;
    std::memset(fibre.stack_pointer, 0, 6 * sizeof(void*));
#else
    getcontext(&fibre.context);
    fibre.context.uc_stack = {stack + PAGE, 0, STACK - PAGE};
    makecontext(&fibre.context, reinterpret_cast<void (*)()>(&run_fibre), 0);
#endif
}

// Suspends the fibre until the condition holds.
template <typename Condition>
__attribute__((noinline)) void wait_until(Condition condition, const char* what) {
    while (!condition()) {
        machine.current->waiting = what;
        leave();
    }
    machine.current->waiting = nullptr;
    machine.progress++;
}

inline __attribute__((noinline)) void block_barrier() {
    const unsigned round = machine.barrier_rounds;
    machine.progress++;
    if (++machine.at_barrier == machine.fibres.size()) {
        machine.at_barrier = 0;
        machine.barrier_rounds++;
    }
    wait_until([&] { return machine.barrier_rounds != round; }, "__syncthreads");
}

// Every lane of the mask gives a value and gets all of them.
inline __attribute__((noinline)) const std::uint64_t* exchange(unsigned mask, std::uint64_t value, const char* what) {
    const unsigned lane = threadIdx.x % 32;
    if (!(mask >> lane & 1)) fail("%s without its own lane in the mask", what);
    auto& all = machine.meetings[threadIdx.x / 32];
    Meeting* meeting = nullptr;
    for (Meeting& one : all) {
        if (one.mask == mask) meeting = &one;
        else if (one.arrived & mask) fail("%s while a lane waits at %s with another mask", what, one.what);
    }
    if (!meeting) meeting = &all.emplace_back(), meeting->mask = mask;
    if (meeting->arrived && std::strcmp(meeting->what, what))
        fail("%s where another lane is at %s", what, meeting->what);
    meeting->what = what;
    const unsigned round = meeting->rounds;
    meeting->values[round % 2][lane] = value;
    meeting->arrived |= 1u << lane;
    machine.progress++;
    if (meeting->arrived == mask) {
        meeting->arrived = 0;
        meeting->rounds++;
    }
    wait_until([&] { return meeting->rounds != round; }, what);
    return meeting->values[round % 2];
}

// The thread-local storage of this program or library: the shared memory of a block, and nothing else.
struct Region {
    unsigned char* from = nullptr;
    std::size_t size = 0;
};
inline Region region;  // of the thread that launches
inline Region shared_region() { return region; }
inline void find_shared_region() {
    region = {};
    volatile unsigned char* own = emulator_dynamic.bytes;
    (void)*own;  // a library's is made at its first touch
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void*) {
            const auto at = reinterpret_cast<std::uintptr_t>(emulator_dynamic.bytes);
            for (int i = 0; i < info->dlpi_phnum; i++) {
                const auto from = reinterpret_cast<std::uintptr_t>(info->dlpi_tls_data);
                const std::size_t size = info->dlpi_phdr[i].p_memsz;
                if (info->dlpi_phdr[i].p_type != PT_TLS || !from || at < from || at >= from + size) continue;
                region = {static_cast<unsigned char*>(info->dlpi_tls_data), size};
            }
            return region.from ? 1 : 0;
        },
        nullptr);
    if (!region.from) fail("no shared memory found");
}

// --- global memory: buffers that end where a page that must not be touched begins ---

// Says in words what lies at an address; set by who knows.
inline const char* (*explain)(const void*) = nullptr;
inline void on_fault(int, siginfo_t* info, void*) {
    fail("a touch outside all buffers, at %p: %s", info->si_addr, explain ? explain(info->si_addr) : "no buffer");
}

inline void prepare() {
    if (machine.stacks) return;
    static unsigned char alternate[64 << 10];
    stack_t stack{alternate, 0, sizeof(alternate)};
    sigaltstack(&stack, nullptr);
    struct sigaction action{};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
    void* all = mmap(nullptr, STACK * MOST_THREADS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    machine.stacks = static_cast<unsigned char*>(all);
    for (unsigned i = 0; i < MOST_THREADS; i++) mprotect(machine.stacks + i * STACK, PAGE, PROT_NONE);
}

// `count` elements, all bits set until written; a touch before or after them ends the program. What lies between the
// elements and the next page (under `align` bytes) may be read, and a write there is found at the end.
template <typename T>
class Buffer {
public:
    explicit Buffer(std::size_t count, std::size_t align = alignof(T)) : count_(count) {
        prepare();
        const std::size_t bytes = count * sizeof(T), pages = (bytes + align + PAGE - 1) / PAGE + 2;
        size_ = pages * PAGE;
        map_ = static_cast<unsigned char*>(
            mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        std::memset(map_, 0xFF, size_);
        const std::uintptr_t end = reinterpret_cast<std::uintptr_t>(map_ + size_ - PAGE);
        data_ = reinterpret_cast<T*>((end - bytes) / align * align);
        mprotect(map_, PAGE, PROT_NONE);
        mprotect(map_ + size_ - PAGE, PAGE, PROT_NONE);
    }
    Buffer(const Buffer&) = delete;
    ~Buffer() {
        for (const unsigned char* at = map_ + PAGE; at < map_ + size_ - PAGE; at++) {
            const bool own =
                at >= reinterpret_cast<unsigned char*>(data_) && at < reinterpret_cast<unsigned char*>(data_ + count_);
            if (!own && *at != 0xFF) fail("a write beside a buffer");
        }
        munmap(map_, size_);
    }
    T* get() const { return data_; }
    operator T*() const { return data_; }
    std::size_t size() const { return count_; }
    void clear() { std::memset(static_cast<void*>(data_), 0xFF, count_ * sizeof(T)); }
    T* begin() const { return data_; }
    T* end() const { return data_ + count_; }

private:
    T* data_;
    unsigned char* map_;
    std::size_t count_, size_;
};

// --- a launch ---

// Lets each of these threads run until it waits; whether any is left.
inline bool run_once(const unsigned* turn, unsigned count) {
    bool alive = false;
    for (unsigned i = 0; i < count; i++) {
        Fibre& fibre = machine.fibres[turn[i]];
        if (fibre.done) continue;
        enter(fibre);
        alive |= !fibre.done;
    }
    return alive;
}

// Lets each warp run as far ahead of the others as it can.
inline bool run_warps(const std::vector<unsigned>& turn) {
    bool alive = false;
    for (std::size_t first = 0; first < turn.size(); first += 32) {
        std::uint64_t before;
        bool more;
        do {
            before = machine.progress;
            more = run_once(&turn[first], 32);
        } while (more && machine.progress != before);
        alive |= more;
    }
    return alive;
}

inline void run_block(unsigned threads, std::size_t dynamic) {
    const Region shared = shared_region();
    std::memset(shared.from, 0xFF, shared.size);
    machine.at_barrier = machine.barrier_rounds = 0;
    for (auto& warp : machine.meetings) warp.clear();
    machine.fibres.resize(threads);
    std::vector<unsigned> turn(threads);
    for (unsigned x = 0; x < threads; x++) make_fibre(machine.fibres[x], x), turn[x] = x;
    if (order.threads == Order::Backward) std::reverse(turn.begin(), turn.end());
    for (auto& start : machine.at_start) start();
    for (bool alive = true; alive;) {
        if (order.threads == Order::Shuffled) {
            for (unsigned i = threads - 1; i > 0; i--) std::swap(turn[i], turn[next_random() % (i + 1)]);
        }
        const std::uint64_t before = machine.progress;
        alive = order.threads == Order::Shuffled ? run_once(turn.data(), threads) : run_warps(turn);
        if (alive && machine.progress == before) {
            if (!machine.copies.empty()) {
                // Nobody can go on: a copy that was put off arrives, the newest first.
                auto copy = std::move(machine.copies.back());
                machine.copies.pop_back();
                copy();
                machine.progress++;
                continue;
            }
            for (Fibre& fibre : machine.fibres) {
                if (fibre.done) continue;
                threadIdx.x = fibre.x;
                fail("deadlock: waits for ever at %s", fibre.waiting);
            }
        }
    }
    if (!machine.copies.empty()) fail("a bulk copy that nobody waited for");
    for (auto& end : machine.at_end) end();
    // All equal to the first, which is as it was poisoned.
    const unsigned char* rest = emulator_dynamic.bytes + dynamic;
    const std::size_t left = sizeof emulator_dynamic.bytes - dynamic;
    if (*rest != 0xFF || std::memcmp(rest, rest + 1, left - 1)) fail("a write past the dynamic shared memory asked for");
}

// Runs a grid of blocks: launch({x, y, z}, threads, bytes, [&] { kernel(...); }).
template <typename Body>
void launch(Extent grid, unsigned threads, std::size_t dynamic, Body body) {
    prepare();
    find_shared_region();
    if (threads == 0 || threads > MOST_THREADS || threads % 32) fail("a block of %u threads", threads);
    if (dynamic > MOST_SHARED || grid.x == 0 || grid.y == 0 || grid.z == 0) fail("a launch no device takes");
    blockDim = {threads, 1, 1};
    gridDim = grid;
    machine.body = body;
    for (unsigned z = 0; z < grid.z; z++) {
        for (unsigned y = 0; y < grid.y; y++) {
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = {x, y, z};
                run_block(threads, dynamic);
            }
        }
    }
}

}  // namespace emulator
