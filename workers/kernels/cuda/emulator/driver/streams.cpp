// The calls of the driver that know streams: streams.hpp.
#include "streams.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <set>

#include "context.hpp"

namespace driver {

std::recursive_mutex mutex;

namespace {

Stream legacy;
std::set<Stream*> streams{&legacy};
std::set<Graph*> graphs, executables;
std::set<Event*> events;

template <typename T>
T* known(const std::set<T*>& all, void* handle) {
    auto* one = static_cast<T*>(handle);
    return all.count(one) ? one : nullptr;
}

double now() {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

Stream* stream_of(void* handle) { return handle ? known(streams, handle) : &legacy; }

Status submit(Stream* stream, Work work) {
    if (!stream) return ERROR_INVALID_HANDLE;
    if (stream->state == Stream::Broken) return ERROR_STREAM_CAPTURE_INVALIDATED;
    if (stream->state == Stream::Capturing) stream->captured.push_back(std::move(work));
    else stream->waiting.push_back(std::move(work));
    return SUCCESS;
}

void drain(Stream& stream) {
    while (!stream.waiting.empty()) {
        const Work work = std::move(stream.waiting.front());
        stream.waiting.pop_front();
        work();
    }
}

void drain_all() {
    for (Stream* stream : streams) drain(*stream);
}

Status forbid_while_capturing(const char* call) {
    Status status = SUCCESS;
    for (Stream* stream : streams) {
        if (stream->state == Stream::Plain) continue;
        if (!stream->strict || stream->captor != std::this_thread::get_id()) continue;
        std::fprintf(stderr, "emulated driver: %s while this thread captures a stream\n", call);
        stream->state = Stream::Broken;
        status = ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return status;
}

}  // namespace driver

using namespace driver;

int emulated_submit(void* stream, const Work& work) {
    const Guard guard(mutex);
    return submit(stream_of(stream), work);
}

EXPORTED Status cuStreamCreate(void** stream, unsigned) {
    ENTER("cuStreamCreate");
    *stream = *streams.insert(new Stream).first;
    return SUCCESS;
}

EXPORTED Status cuStreamDestroy_v2(void* handle) {
    ENTER("cuStreamDestroy");
    Stream* stream = known(streams, handle);
    if (!stream || stream == &legacy) return ERROR_INVALID_HANDLE;
    drain(*stream);  // a driver lets go of it once its work is done
    streams.erase(stream);
    delete stream;
    return SUCCESS;
}

EXPORTED Status cuStreamSynchronize(void* handle) {
    ENTER("cuStreamSynchronize");
    Stream* stream = stream_of(handle);
    if (!stream) return ERROR_INVALID_HANDLE;
    if (stream->state != Stream::Plain) {
        std::fprintf(stderr, "emulated driver: a wait for a stream that is captured\n");
        stream->state = Stream::Broken;
        return ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    drain(*stream);
    return SUCCESS;
}

EXPORTED Status cuCtxSynchronize() {
    ENTER("cuCtxSynchronize");
    if (const Status status = forbid_while_capturing("cuCtxSynchronize")) return status;
    drain_all();
    return SUCCESS;
}

EXPORTED Status cuStreamWaitEvent(void* handle, void* of, unsigned) {
    ENTER("cuStreamWaitEvent");
    Stream* stream = stream_of(handle);
    Event* event = known(events, of);
    if (!stream || !event) return ERROR_INVALID_HANDLE;
    if (stream->state != Stream::Plain || event->captured) return ERROR_NOT_SUPPORTED;  // nobody here joins captures
    const std::shared_ptr<Mark> mark = event->mark;
    return submit(stream, [mark] {
        if (mark && !mark->reached) drain(*mark->stream);
    });
}

// --- captures and graphs ---

EXPORTED Status cuStreamBeginCapture_v2(void* handle, int mode) {
    ENTER("cuStreamBeginCapture");
    constexpr int GLOBAL = 0, RELAXED = 2;  // between them: for one thread
    Stream* stream = stream_of(handle);
    if (!stream) return ERROR_INVALID_HANDLE;
    if (mode < GLOBAL || mode > RELAXED) return ERROR_INVALID_VALUE;
    if (stream == &legacy) return ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (stream->state != Stream::Plain) return ERROR_ILLEGAL_STATE;
    stream->state = Stream::Capturing;
    stream->captor = std::this_thread::get_id();
    stream->strict = mode != RELAXED;
    return SUCCESS;
}

EXPORTED Status cuStreamEndCapture(void* handle, void** graph) {
    ENTER("cuStreamEndCapture");
    *graph = nullptr;
    Stream* stream = stream_of(handle);
    if (!stream) return ERROR_INVALID_HANDLE;
    if (stream->state == Stream::Plain) return ERROR_ILLEGAL_STATE;
    if (stream->strict && stream->captor != std::this_thread::get_id()) return ERROR_STREAM_CAPTURE_WRONG_THREAD;
    const bool broken = stream->state == Stream::Broken;
    stream->state = Stream::Plain;
    std::vector<Work> nodes = std::move(stream->captured);
    stream->captured.clear();
    if (broken) return ERROR_STREAM_CAPTURE_INVALIDATED;
    *graph = *graphs.insert(new Graph{std::move(nodes)}).first;
    return SUCCESS;
}

EXPORTED Status cuStreamIsCapturing(void* handle, int* status) {
    ENTER("cuStreamIsCapturing");
    const Stream* stream = stream_of(handle);
    if (!stream) return ERROR_INVALID_HANDLE;
    *status = stream->state;
    return SUCCESS;
}

EXPORTED Status cuGraphInstantiateWithFlags(void** executable, void* handle, unsigned long long flags) {
    ENTER("cuGraphInstantiateWithFlags");
    const Graph* graph = known(graphs, handle);
    if (!graph) return ERROR_INVALID_HANDLE;
    if (flags) return ERROR_NOT_SUPPORTED;
    *executable = *executables.insert(new Graph(*graph)).first;
    return SUCCESS;
}

EXPORTED Status cuGraphUpload(void* executable, void* stream) {
    ENTER("cuGraphUpload");
    return known(executables, executable) && stream_of(stream) ? SUCCESS : ERROR_INVALID_HANDLE;
}

EXPORTED Status cuGraphLaunch(void* handle, void* on) {
    ENTER("cuGraphLaunch");
    const Graph* executable = known(executables, handle);
    Stream* stream = stream_of(on);
    if (!executable || !stream) return ERROR_INVALID_HANDLE;
    if (stream->state != Stream::Plain) return ERROR_NOT_SUPPORTED;  // a graph within a graph: not here
    for (const Work& node : executable->nodes) submit(stream, node);
    return SUCCESS;
}

EXPORTED Status cuGraphDestroy(void* handle) {
    ENTER("cuGraphDestroy");
    if (!graphs.erase(static_cast<Graph*>(handle))) return ERROR_INVALID_HANDLE;
    delete static_cast<Graph*>(handle);
    return SUCCESS;
}

EXPORTED Status cuGraphExecDestroy(void* handle) {
    ENTER("cuGraphExecDestroy");
    if (!executables.erase(static_cast<Graph*>(handle))) return ERROR_INVALID_HANDLE;
    delete static_cast<Graph*>(handle);
    return SUCCESS;
}

// --- events ---

EXPORTED Status cuEventCreate(void** event, unsigned flags) {
    ENTER("cuEventCreate");
    constexpr unsigned UNTIMED = 2;
    auto* made = new Event;
    made->timed = !(flags & UNTIMED);
    *event = *events.insert(made).first;
    return SUCCESS;
}

EXPORTED Status cuEventDestroy_v2(void* handle) {
    ENTER("cuEventDestroy");
    if (!events.erase(static_cast<Event*>(handle))) return ERROR_INVALID_HANDLE;
    delete static_cast<Event*>(handle);
    return SUCCESS;
}

EXPORTED Status cuEventRecord(void* handle, void* on) {
    ENTER("cuEventRecord");
    Event* event = known(events, handle);
    Stream* stream = stream_of(on);
    if (!event || !stream) return ERROR_INVALID_HANDLE;
    event->captured = stream->state != Stream::Plain;
    event->mark = std::make_shared<Mark>();
    event->mark->stream = stream;
    if (event->captured) return stream->state == Stream::Broken ? ERROR_STREAM_CAPTURE_INVALIDATED : SUCCESS;
    return submit(stream, [mark = event->mark] {
        mark->reached = true;
        mark->at = now();
    });
}

EXPORTED Status cuEventSynchronize(void* handle) {
    ENTER("cuEventSynchronize");
    const Event* event = known(events, handle);
    if (!event) return ERROR_INVALID_HANDLE;
    if (event->captured) return ERROR_CAPTURED_EVENT;
    if (event->mark && !event->mark->reached) drain(*event->mark->stream);
    return SUCCESS;
}

EXPORTED Status cuEventElapsedTime_v2(float* ms, void* from, void* to) {
    ENTER("cuEventElapsedTime");
    const Event *begun = known(events, from), *ended = known(events, to);
    if (!begun || !ended || !begun->mark || !ended->mark || !begun->timed || !ended->timed) return ERROR_INVALID_HANDLE;
    if (begun->captured || ended->captured) return ERROR_CAPTURED_EVENT;
    if (!begun->mark->reached || !ended->mark->reached) return ERROR_NOT_READY;
    *ms = static_cast<float>(ended->mark->at - begun->mark->at);
    return SUCCESS;
}
