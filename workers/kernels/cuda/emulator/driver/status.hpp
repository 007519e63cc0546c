// The driver's status codes that this one gives, with their names.
//
// In: nothing. Out: numbers of the driver's interface, version 12.8. Says nothing of when they are given.
#pragma once

namespace driver {

#define EMULATED_STATUSES(X)                                                                                         \
    X(SUCCESS, 0) X(ERROR_INVALID_VALUE, 1) X(ERROR_OUT_OF_MEMORY, 2) X(ERROR_NOT_INITIALIZED, 3)                    \
    X(ERROR_INVALID_DEVICE, 101) X(ERROR_INVALID_IMAGE, 200) X(ERROR_INVALID_CONTEXT, 201)                           \
    X(ERROR_INVALID_HANDLE, 400) X(ERROR_ILLEGAL_STATE, 401) X(ERROR_NOT_FOUND, 500) X(ERROR_NOT_READY, 600)         \
    X(ERROR_ILLEGAL_ADDRESS, 700) X(ERROR_LAUNCH_OUT_OF_RESOURCES, 701) X(ERROR_NOT_SUPPORTED, 801)                  \
    X(ERROR_STREAM_CAPTURE_UNSUPPORTED, 900) X(ERROR_STREAM_CAPTURE_INVALIDATED, 901)                                \
    X(ERROR_STREAM_CAPTURE_UNMATCHED, 903) X(ERROR_CAPTURED_EVENT, 907) X(ERROR_STREAM_CAPTURE_WRONG_THREAD, 908)

enum Status : int {
#define EMULATED_STATUS(NAME, VALUE) NAME = VALUE,
    EMULATED_STATUSES(EMULATED_STATUS)
#undef EMULATED_STATUS
};

}  // namespace driver
