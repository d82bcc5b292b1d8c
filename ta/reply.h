/* What command 0 answers: shared by the trusted application and the native client library. */
#ifndef TA_REPLY_H
#define TA_REPLY_H

#include <stdint.h>

#define TA_CMD_GET_MEMORY 0U

/* Both count units; the unit's bytes travel in the command's fourth parameter. */
struct ta_memory {
    uint64_t total;
    uint64_t free;
};

_Static_assert(sizeof(struct ta_memory) == 16, "clients accept exactly 16 bytes");

#endif
