/*
 * What the test wants the TEE to be and to do: key=value lines of the file TEST_TEE_STATE, read
 * anew at each call, so that a test can change them while a client runs.  The keys are described
 * in tests/tee/README.md.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum call { CALL_LOAD, CALL_INIT, CALL_OPEN, CALL_INVOKE, CALL_CLOSE, CALL_FINALIZE, CALLS };

enum fault_kind {
    FAULT_NONE,
    FAULT_RESULT,
    FAULT_ERRNO,
    FAULT_HANG,
    FAULT_CRASH,
    FAULT_SLOW,
    FAULT_EXIT,
};

/* `value` is the result code, the errno, the milliseconds or the exit status. */
struct fault {
    enum fault_kind kind;
    uint32_t value;
    uint32_t origin;
};

struct override {
    bool set;
    uint64_t value;
};

struct control {
    bool strict;
    bool anybody; /* no allowlist, as if the TA let everyone in */
    bool ta_present;
    uint64_t total_bytes;
    uint64_t free_bytes;
    uint32_t mem_unit;
    struct override totalram;
    struct override freeram;
    int sysinfo_result;
    uint32_t record_bytes;
    uint64_t heap_bytes;
    uint64_t heap_free_bytes;
    char uuid[37];
    struct fault faults[CALLS];
    /* Written over a successful answer, so that clients meet what our TA never says. */
    struct override reply_size;
    struct override reply_unit;
    struct override reply_total;
    struct override reply_free;
};

extern const char *const call_names[CALLS];

void read_control(struct control *control);

#endif
