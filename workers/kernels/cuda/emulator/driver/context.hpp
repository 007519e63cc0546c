// What every call asks first: that the driver was started, and that this thread has a context.
//
// In: the name of a call. Out: the status it fails with, or none. Holds no thread-local memory: in this library that is
// the shared memory of a block.
#pragma once

#include <mutex>

#include "status.hpp"
#include "streams.hpp"

namespace driver {

using Guard = std::lock_guard<std::recursive_mutex>;

// Success, or why a call cannot be made; says which.
Status ready(const char* call);

}  // namespace driver

#define ENTER(CALL)                     \
    const driver::Guard guard(driver::mutex); \
    if (const driver::Status missing = driver::ready(CALL)) return missing
