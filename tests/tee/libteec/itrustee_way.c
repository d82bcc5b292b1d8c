/* What iTrustee's library does on its way to the TEE: teecd, the signed file, the driver's errno. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "record.h"
#include "vendor.h"

#define MAX_TA_PATH 256

/* The beginning of a signed file, as far as the library reads it. */
struct signed_head {
    uint32_t magic_1;
    uint16_t magic_2;
    uint16_t version;
    uint32_t content;
    uint32_t rest;
};

enum { LARGEST_FILE = 8 << 20 };

/* The bytes that the library would hand to the TEE, or -1 where it reads none. */
static long read_signed(const char *path)
{
    FILE *file = fopen(path, "re");
    struct signed_head head = {0};
    bool whole = file != NULL && fread(&head, sizeof(head), 1, file) == 1;
    uint32_t total = head.content + (uint32_t)sizeof(head);
    long there = whole && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;

    if (file != NULL)
        fclose(file);
    if (!whole) {
        syslog(LOG_ERR, "read file failed, ret=%d, error=%d\n", 0, 0);
        return -1;
    }
    if (head.magic_1 != 0xA5A55A5A || head.magic_2 != 0x55AA || head.content > LARGEST_FILE ||
        total > LARGEST_FILE) {
        syslog(LOG_ERR, "check img size failed\n");
        return -1;
    }
    if (there < (long)total) {
        syslog(LOG_ERR, "read ta file failed, read size/total size=%ld/%u\n", there, total);
        return -1;
    }
    return total;
}

static bool ends_in(const char *path, const char *suffix)
{
    const char *dot = strrchr(path, '.');

    return dot != NULL && strcmp(dot, suffix) == 0;
}

/* A path that the library doesn't take is as good as none: it then looks in its own place. */
static bool names_file(const TEEC_Context *context)
{
    const char *path = (const char *)context->ta_path;

    return path != NULL && strlen(path) < MAX_TA_PATH && ends_in(path, ".sec");
}

/* The library reads the file, so a missing file is distinguished from what the TEE says. */
TEEC_Result vendor_judges_ta_file(const struct control *control, const TEEC_Context *context,
                                  const char *uuid, uint32_t *origin)
{
    char path[PATH_MAX];
    char real[PATH_MAX];

    *origin = TEEC_ORIGIN_API;
    if (!control->ta_present)
        return TEEC_ERROR_TRUSTED_APP_LOAD_ERROR;
    if (names_file(context))
        snprintf(path, sizeof(path), "%s", (const char *)context->ta_path);
    else
        snprintf(path, sizeof(path), "/var/itrustee/ta/%s.sec", uuid);
    if (realpath(path, real) == NULL) {
        /* Without a file in its own place it is taken for one that is built into the TEE. */
        if (!names_file(context))
            return TEEC_SUCCESS;
        syslog(LOG_ERR, "get file realpath error%d\n", errno);
        return TEEC_ERROR_TRUSTED_APP_LOAD_ERROR;
    }
    if (!ends_in(real, ".sec")) {
        syslog(LOG_ERR, "realpath suffix -%s- format is wrong\n", strrchr(real, '.'));
        return TEEC_ERROR_TRUSTED_APP_LOAD_ERROR;
    }
    return read_signed(real) < 0 ? TEEC_ERROR_TRUSTED_APP_LOAD_ERROR : TEEC_SUCCESS;
}

enum { AUTH_RETRIES = 30 };

void vendor_retries_open(const TEEC_Context *context, TEEC_Result result)
{
    char bytes[32];

    if (result != TEEC_ERROR_CA_AUTH_FAIL)
        return;
    snprintf(bytes, sizeof(bytes), "%ld",
             (const char *)context->ta_path != NULL ? read_signed((const char *)context->ta_path) : 0);
    for (unsigned times = 0; times <= AUTH_RETRIES; times++)
        record("asked", "call", "open", "bytes", bytes, (char *)NULL);
}

TEEC_Result vendor_result_of_errno(enum call call, int error)
{
    if (call == CALL_INVOKE && error == EFAULT)
        return TEEC_ERROR_ACCESS_DENIED;
    if (call == CALL_INVOKE && error == ENOMEM)
        return TEEC_ERROR_OUT_OF_MEMORY;
    return TEEC_ERROR_GENERIC;
}

enum { CONNECT_TRIES = 50, CONNECT_PAUSE_MS = 200, OUR_MAJOR = 2 };

static int try_to_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (file >= 0 && connect(file, (struct sockaddr *)&address, sizeof(address)) == 0)
        return file;
    syslog(LOG_ERR, "connect() failed, errno=%d\n", errno);
    if (file >= 0)
        close(file);
    return -1;
}

/* teecd's major version by tests/tee/teecd.py, or -1: it closed the connection. */
static int ask_version(int file)
{
    unsigned char major;
    ssize_t bytes = write(file, "v", 1) == 1 ? read(file, &major, 1) : -1;

    close(file);
    return bytes == 1 ? major : -1;
}

/* Once in a process; without a daemon to go to (TEST_TEE_TEECD) every login is let in. */
TEEC_Result vendor_connects(const struct control *control)
{
    static int major = -1;
    const struct timespec pause = {0, CONNECT_PAUSE_MS * 1000000L};
    const char *path = getenv("TEST_TEE_TEECD");
    int file = -1;

    (void)control;
    if (path == NULL)
        return TEEC_SUCCESS;
    for (unsigned tries = 0; file < 0 && tries < CONNECT_TRIES; tries++) {
        file = try_to_connect(path);
        if (file < 0)
            nanosleep(&pause, NULL);
    }
    if (file < 0) {
        syslog(LOG_ERR, "try connect ca daemon failed, fail_counts = %d\n", CONNECT_TRIES);
        return TEEC_ERROR_GENERIC;
    }
    if (major < 0)
        major = ask_version(file);
    else
        close(file);
    if (major == OUR_MAJOR)
        return TEEC_SUCCESS;
    syslog(LOG_ERR, "check major version failed, libteec major version %d, teecd major version %d\n",
           OUR_MAJOR, major);
    return TEEC_ERROR_GENERIC;
}
