/* One query of the TEE. */
#ifndef QUERY_H
#define QUERY_H

#include <stdbool.h>
#include <stdint.h>

#include "settings.h"

struct tee_memory {
    uint64_t total_bytes;
    uint64_t free_bytes;
};

/* Open, ask, close.  False for any failure, and for an answer that can't be true. */
bool query_tee(const struct settings *settings, struct tee_memory *memory);

#endif
