#define _GNU_SOURCE /* secure_getenv */
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UUID_LENGTH 36

static const char *setting(const char *name, const char *built_in)
{
    /* A program with more rights than its user doesn't let that user choose the TA. */
    const char *value = secure_getenv(name);

    return value != NULL && value[0] != '\0' ? value : built_in;
}

static int digit(char character)
{
    if (character >= '0' && character <= '9')
        return character - '0';
    if (character >= 'a' && character <= 'f')
        return character - 'a' + 10;
    if (character >= 'A' && character <= 'F')
        return character - 'A' + 10;
    return -1;
}

/* Reads the 16 bytes in the order they are written in. */
static bool parse_bytes(const char *text, uint8_t bytes[16])
{
    unsigned count = 0;

    if (strlen(text) != UUID_LENGTH)
        return false;
    for (unsigned i = 0; i < UUID_LENGTH;) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i++] != '-')
                return false;
            continue;
        }
        if (digit(text[i]) < 0 || digit(text[i + 1]) < 0)
            return false;
        bytes[count++] = (uint8_t)(digit(text[i]) * 16 + digit(text[i + 1]));
        i += 2;
    }
    return true;
}

static bool parse_uuid(const char *text, TEEC_UUID *uuid)
{
    uint8_t bytes[16];

    if (!parse_bytes(text, bytes))
        return false;
    uuid->timeLow = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
                    (uint32_t)bytes[3];
    uuid->timeMid = (uint16_t)(bytes[4] << 8 | bytes[5]);
    uuid->timeHiAndVersion = (uint16_t)(bytes[6] << 8 | bytes[7]);
    memcpy(uuid->clockSeqAndNode, bytes + 8, sizeof(uuid->clockSeqAndNode));
    return true;
}

static bool parse_kb(const char *text, uint64_t *kb)
{
    uint64_t value = 0;

    for (; *text != '\0'; text++) {
        unsigned number = (unsigned)(*text - '0');

        if (number > 9 || value > (UINT64_MAX - number) / 10)
            return false;
        value = value * 10 + number;
    }
    *kb = value;
    return true;
}

static bool choose_ta_path(const char *uuid, char path[MAX_TA_PATH])
{
    const char *chosen = setting("TEEMEMCA_TA_PATH", TEEMEMCA_DEFAULT_TA_PATH);
    int length;

    if (chosen[0] != '\0')
        length = snprintf(path, MAX_TA_PATH, "%s", chosen);
    else
        length = snprintf(path, MAX_TA_PATH, "%s/%s.sec", TEEMEMCA_DEFAULT_TA_DIRECTORY, uuid);
    return length > 0 && length < MAX_TA_PATH;
}

bool read_settings(struct settings *settings)
{
    const char *uuid = setting("TEEMEMCA_UUID", TEEMEMCA_DEFAULT_UUID);

    memset(settings, 0, sizeof(*settings));
    return parse_uuid(uuid, &settings->uuid) && choose_ta_path(uuid, settings->ta_path) &&
           parse_kb(setting("TEEMEMCA_RESERVE_KB", TEEMEMCA_DEFAULT_RESERVE_KB),
                    &settings->reserve_kb);
}
