/* What to ask and how to count: built in, or from the environment. */
#ifndef SETTINGS_H
#define SETTINGS_H

#include <stdbool.h>
#include <stdint.h>
#include <tee_client_api.h>

#define MAX_TA_PATH 256 /* libteec takes shorter ones only */

struct settings {
    TEEC_UUID uuid;
    char ta_path[MAX_TA_PATH];
    uint64_t reserve_kb;
};

/* False where a setting can't be used: better no figure than one of another TA or reserve. */
bool read_settings(struct settings *settings);

#endif
