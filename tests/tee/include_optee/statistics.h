/* The statistics pseudo-TA's record of one pool; its length tells which of the two it is. */
#ifndef STATISTICS_H
#define STATISTICS_H

#include <stdint.h>

/* Up to OP-TEE 4.5. */
struct statistics_56 {
    char desc[32];
    uint32_t allocated;
    uint32_t max_allocated;
    uint32_t size;
    uint32_t num_alloc_fail;
    uint32_t biggest_alloc_fail;
    uint32_t biggest_alloc_fail_used;
};

/* From 4.6 on. */
struct statistics_64 {
    char desc[32];
    uint64_t free2_sum;
    uint32_t allocated;
    uint32_t max_allocated;
    uint32_t size;
    uint32_t num_alloc_fail;
    uint32_t biggest_alloc_fail;
    uint32_t biggest_alloc_fail_used;
};

_Static_assert(sizeof(struct statistics_56) == 56, "statistics_56");
_Static_assert(sizeof(struct statistics_64) == 64, "statistics_64");

#endif
