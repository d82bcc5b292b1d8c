/* OP-TEE's library: PUBLIC login, and the statistics pseudo-TA that needs no TA of ours. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../../ta/reply.h"
#include "../include_optee/statistics.h"
#include "vendor.h"

#define EXPORT __attribute__((visibility("default")))

static const char statistics_uuid[] = "d96a5b40-e2c7-b1af-8794-1002a5d5c61b";

enum { COMMAND_ALLOCATIONS = 1, POOL_HEAP = 1, POOL_TA_RAM = 3, POOLS = 6 };

#define POOL_NAME "Physical TA memory"

const char *const vendor_name = "optee";
const bool vendor_has_callers = false;

const char *vendor_refuses_process(void)
{
    return NULL;
}

TEEC_Result vendor_connects(const struct control *control)
{
    (void)control;
    return TEEC_SUCCESS;
}

TEEC_Result vendor_result_of_errno(enum call call, int error)
{
    (void)call;
    return error == ENOMEM ? TEEC_ERROR_OUT_OF_MEMORY : TEEC_ERROR_GENERIC;
}

void vendor_retries_open(const TEEC_Context *context, TEEC_Result result)
{
    (void)context;
    (void)result;
}

void vendor_fill_context(TEEC_Context *context, int fd)
{
    context->fd = fd;
    context->reg_mem = true;
    context->memref_null = true;
}

void vendor_empty_context(TEEC_Context *context)
{
    context->fd = -1;
}

int vendor_context_fd(const TEEC_Context *context)
{
    return context->fd;
}

const char *vendor_describes_context(const TEEC_Context *context)
{
    (void)context;
    return "";
}

const char *vendor_checks_open(const TEEC_Context *context, uint32_t method, const void *data,
                               const TEEC_Operation *operation)
{
    (void)context;
    if (method != TEEC_LOGIN_PUBLIC)
        return "the login isn't TEEC_LOGIN_PUBLIC (0)";
    if (data != NULL)
        return "the connection data isn't NULL";
    return operation != NULL ? vendor_checks_operation(operation) : NULL;
}

/* OP-TEE ignores `started`: that iTrustee's clients set it is how to see theirs coming. */
const char *vendor_checks_operation(const TEEC_Operation *operation)
{
    if (operation->started != 0)
        return "started isn't 0: the operation is laid out or filled in another vendor's way";
    if (operation->paramTypes > 0xFFFF)
        return "paramTypes has more than 16 bits";
    for (unsigned i = 0; i < TEEC_PARAM_NUM; i++) {
        uint32_t type = TEEC_PARAM_TYPE_GET(operation->paramTypes, i);

        if (type == 4 || type > TEEC_MEMREF_TEMP_INOUT)
            return "a parameter's type is none that this library serves";
        if (type >= TEEC_MEMREF_TEMP_INPUT && (operation->params[i].tmpref.buffer == NULL ||
                                               operation->params[i].tmpref.size == 0))
            return "a memory reference is empty, or the operation is laid out another way";
    }
    return NULL;
}

TEEC_Result vendor_judges_operation(const TEEC_Operation *operation)
{
    (void)operation;
    return TEEC_SUCCESS;
}

TEEC_Result vendor_judges_ta_file(const struct control *control, const TEEC_Context *context,
                                  const char *uuid, uint32_t *origin)
{
    (void)context;
    (void)uuid;
    *origin = TEEC_ORIGIN_TEE;
    return control->ta_present ? TEEC_SUCCESS : TEEC_ERROR_ITEM_NOT_FOUND;
}

void vendor_overwrites_open(TEEC_Operation *operation)
{
    (void)operation;
}

void vendor_link(TEEC_Context *context, TEEC_Session *session, const TEEC_UUID *uuid, uint32_t id)
{
    (void)uuid;
    session->ctx = context;
    session->session_id = id;
}

void vendor_unlink(TEEC_Session *session)
{
    memset(session, 0, sizeof(*session));
}

const char *vendor_checks_session(const TEEC_Session *session, const TEEC_Context *context)
{
    if (session->ctx != context || session->session_id == 0)
        return "the session was written to while it was open";
    return NULL;
}

enum service vendor_finds(const struct control *control, const char *uuid)
{
    if (strcmp(uuid, statistics_uuid) == 0)
        return SERVICE_STATISTICS;
    /* Our TA runs on OP-TEE too: that is how a foreign layout came to be measured. */
    return strcmp(uuid, control->uuid) == 0 ? SERVICE_MEMORY_TA : SERVICE_NONE;
}

/* 32 bits wrap at 4 GiB, as they do there.  Pools other than the TAs' may well be empty. */
static void write_record(const struct control *control, uint32_t pool, unsigned char *record)
{
    struct statistics_64 after = {.desc = POOL_NAME};
    struct statistics_56 before = {.desc = POOL_NAME};

    if (pool == POOL_TA_RAM) {
        after.size = (uint32_t)control->total_bytes;
        after.allocated = (uint32_t)(control->total_bytes - control->free_bytes);
    } else if (pool == POOL_HEAP) {
        after.size = (uint32_t)control->heap_bytes;
        after.allocated = (uint32_t)(control->heap_bytes - control->heap_free_bytes);
    }
    after.max_allocated = after.allocated;
    before.size = after.size;
    before.allocated = after.allocated;
    before.max_allocated = after.allocated;
    if (control->record_bytes == sizeof(before))
        memcpy(record, &before, sizeof(before));
    else
        memcpy(record, &after, sizeof(after));
}

TEEC_Result vendor_invokes(const struct control *control, enum service service, uint32_t command,
                           uint32_t types, TEE_Param params[TEE_PARAMS_NUM])
{
    (void)service;
    if (command != COMMAND_ALLOCATIONS)
        return TEEC_ERROR_BAD_PARAMETERS;
    if (types != TEEC_PARAM_TYPES(TEEC_VALUE_INPUT, TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE))
        return TEEC_ERROR_BAD_PARAMETERS;
    if (params[0].value.a == 0 || params[0].value.a >= POOLS)
        return TEEC_ERROR_BAD_PARAMETERS;
    if (params[1].memref.size < control->record_bytes) {
        params[1].memref.size = control->record_bytes;
        return TEEC_ERROR_SHORT_BUFFER;
    }
    write_record(control, params[0].value.a, params[1].memref.buffer);
    params[1].memref.size = control->record_bytes;
    return TEEC_SUCCESS;
}

static void override_statistics(const struct control *control, TEEC_Operation *operation)
{
    struct control changed = *control;

    if (control->reply_total.set)
        changed.total_bytes = control->reply_total.value;
    if (control->reply_free.set)
        changed.free_bytes = control->reply_free.value;
    if (control->reply_total.set || control->reply_free.set)
        write_record(&changed, operation->params[0].value.a, operation->params[1].tmpref.buffer);
    if (control->reply_size.set)
        operation->params[1].tmpref.size = control->reply_size.value;
}

static void override_memory(const struct control *control, TEEC_Operation *operation)
{
    struct ta_memory memory;

    memcpy(&memory, operation->params[0].tmpref.buffer, sizeof(memory));
    if (control->reply_total.set)
        memory.total = control->reply_total.value;
    if (control->reply_free.set)
        memory.free = control->reply_free.value;
    memcpy(operation->params[0].tmpref.buffer, &memory, sizeof(memory));
    if (control->reply_size.set)
        operation->params[0].tmpref.size = control->reply_size.value;
    if (control->reply_unit.set)
        operation->params[3].value.a = (uint32_t)control->reply_unit.value;
}

TEEC_Result vendor_overrides(const struct control *control, enum service service,
                             TEEC_Operation *operation)
{
    if (service == SERVICE_STATISTICS)
        override_statistics(control, operation);
    else
        override_memory(control, operation);
    return TEEC_SUCCESS;
}

/* By this name clients tell this library from iTrustee's. */
EXPORT TEEC_Result TEEC_RegisterSharedMemoryFileDescriptor(TEEC_Context *context,
                                                           TEEC_SharedMemory *memory, int fd);

EXPORT TEEC_Result TEEC_RegisterSharedMemoryFileDescriptor(TEEC_Context *context,
                                                           TEEC_SharedMemory *memory, int fd)
{
    (void)context;
    (void)memory;
    (void)fd;
    return TEEC_ERROR_NOT_SUPPORTED;
}
