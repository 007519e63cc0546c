// Streams, captures, graphs and events.
//
// In: work, in the order the host gives it. Out: the work done, as late as it may be: when somebody waits. So a missing
// wait shows, and so does whatever a kernel's launch borrowed from the host and did not copy.
//
// ## Stream => (what comes next)
//   plain => begin: capturing;  capturing => end: plain, with a graph
//   capturing => a call that no capture takes: broken;  broken => end: plain, with an error and no graph
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "status.hpp"

namespace driver {

using Work = std::function<void()>;

struct Stream {
    enum { Plain, Capturing, Broken } state = Plain;
    std::deque<Work> waiting;
    std::vector<Work> captured;
    std::thread::id captor;
    bool strict = false;  // the captor may make no call that could wait
};

struct Graph {
    std::vector<Work> nodes;
};

// One recording of an event.
struct Mark {
    Stream* stream = nullptr;
    bool reached = false;
    double at = 0;
};
struct Event {
    bool timed = true, captured = false;
    std::shared_ptr<Mark> mark;
};

extern std::recursive_mutex mutex;

// Puts work at the end of a stream, or of the graph it is captured into.
Status submit(Stream* stream, Work work);
// Does everything that waits in a stream.
void drain(Stream& stream);
// Everything everywhere.
void drain_all();
// What a call that may wait gives while this thread captures, and the capture is broken by it.
Status forbid_while_capturing(const char* call);
Stream* stream_of(void* handle);

}  // namespace driver

#define EXPORTED extern "C" __attribute__((visibility("default")))

// For the library of products, which submits as the driver does.
EXPORTED int emulated_submit(void* stream, const std::function<void()>& work);
EXPORTED int emulated_holds(unsigned long long from, unsigned long long bytes, const char* what);
