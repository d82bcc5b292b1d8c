/* The two calls that programs know libteememca by. */
#include "teememca.h"

#include "query.h"
#include "settings.h"

#define EXPORT    __attribute__((visibility("default")))
#define FAILED    (-1LL)
#define KB_BYTES  1024U

EXPORT long long GetTeeFreeMem(void)
{
    struct settings settings;
    struct tee_memory memory;

    if (!read_settings(&settings) || !query_tee(&settings, &memory))
        return FAILED;
    return (long long)(memory.free_bytes / KB_BYTES);
}

EXPORT long long GetTeeCapacityMem(void)
{
    struct settings settings;
    struct tee_memory memory;
    uint64_t total_kb;

    if (!read_settings(&settings) || !query_tee(&settings, &memory))
        return FAILED;
    total_kb = memory.total_bytes / KB_BYTES;
    return total_kb > settings.reserve_kb ? (long long)(total_kb - settings.reserve_kb) : 0;
}
