/*
 * A libteec for tests: the GlobalPlatform client calls, strict where the vendors' are lenient.
 *
 * What a vendor's library would take silently and answer with wrong figures, this one refuses, and
 * writes the reason into the record.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control.h"
#include "fault.h"
#include "identity.h"
#include "record.h"
#include "vendor.h"

#define EXPORT __attribute__((visibility("default")))
#define MAX_LIVE 64

/* Contexts and sessions are known by their address, as the caller must leave them in place. */
struct live_context {
    const TEEC_Context *context;
    int fd;
};

struct live_session {
    const TEEC_Session *session;
    TEEC_Context *context;
    struct opened opened;
    bool dead;
};

static pthread_mutex_t registry = PTHREAD_MUTEX_INITIALIZER;
static struct live_context contexts[MAX_LIVE];
static struct live_session sessions[MAX_LIVE];
static uint32_t last_session_id;

static struct live_context *find_context(const TEEC_Context *context)
{
    for (unsigned i = 0; i < MAX_LIVE; i++)
        if (contexts[i].context == context)
            return &contexts[i];
    return NULL;
}

static struct live_session *find_session(const TEEC_Session *session)
{
    for (unsigned i = 0; i < MAX_LIVE; i++)
        if (sessions[i].session == session)
            return &sessions[i];
    return NULL;
}

static void complain(enum call call, const char *why)
{
    record("refused", "call", call_names[call], "why", why, (char *)NULL);
}

/* A misuse fails the call in a strict library, and is only noted in a lenient one. */
static bool misused(const struct control *control, enum call call, const char *why)
{
    if (why == NULL)
        return false;
    complain(call, why);
    return control->strict;
}

static const char *hex(char text[11], uint32_t value)
{
    snprintf(text, 11, "0x%08x", value);
    return text;
}

static void record_return(enum call call, TEEC_Result result, uint32_t origin)
{
    char result_text[11];
    char origin_text[11];

    record("return", "call", call_names[call], "result", hex(result_text, result), "origin",
           hex(origin_text, origin), (char *)NULL);
}

static void write_uuid(char text[37], const TEEC_UUID *uuid)
{
    const uint8_t *node = uuid->clockSeqAndNode;

    snprintf(text, 37, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", uuid->timeLow,
             uuid->timeMid, uuid->timeHiAndVersion, node[0], node[1], node[2], node[3], node[4],
             node[5], node[6], node[7]);
}

__attribute__((constructor)) static void load(void)
{
    struct control control;
    uint32_t ignored;
    const char *why = vendor_refuses_process();

    record("call", "call", "load", "vendor", vendor_name, (char *)NULL);
    if (why != NULL) {
        complain(CALL_LOAD, why);
        exit(-1);
    }
    read_control(&control);
    suffer(&control, CALL_LOAD, &ignored, &ignored);
}

/* A client that exits with something open would leak it in a daemon that lives on. */
__attribute__((destructor)) static void unload(void)
{
    unsigned left = 0;

    for (unsigned i = 0; i < MAX_LIVE; i++)
        left += (contexts[i].context != NULL) + (sessions[i].session != NULL);
    if (left != 0)
        complain(CALL_FINALIZE, "the process ends with a context or session open");
}

static TEEC_Result add_context(const struct control *control, TEEC_Context *context)
{
    struct live_context *entry;
    int fd;

    if (find_context(context) != NULL &&
        misused(control, CALL_INIT, "the context is initialised already"))
        return TEEC_ERROR_BAD_PARAMETERS;
    entry = find_context(NULL);
    fd = entry != NULL ? open("/dev/null", O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return TEEC_ERROR_OUT_OF_MEMORY;
    *entry = (struct live_context){.context = context, .fd = fd};
    vendor_fill_context(context, fd);
    return TEEC_SUCCESS;
}

static TEEC_Result initialize(const struct control *control, TEEC_Context *context)
{
    struct identity identity;
    TEEC_Result result;

    if (context == NULL)
        return TEEC_ERROR_BAD_PARAMETERS;
    result = vendor_connects(control);
    if (result != TEEC_SUCCESS)
        return result;
    if (vendor_has_callers && !identify(&identity)) {
        complain(CALL_INIT, "the login fails: no argv[0], or no passwd entry for the uid");
        return TEEC_ERROR_GENERIC;
    }
    pthread_mutex_lock(&registry);
    result = add_context(control, context);
    pthread_mutex_unlock(&registry);
    return result;
}

EXPORT TEEC_Result TEEC_InitializeContext(const char *name, TEEC_Context *context)
{
    struct control control;
    struct identity identity;
    TEEC_Result result = TEEC_SUCCESS;
    uint32_t origin = TEEC_ORIGIN_API;

    identify(&identity);
    record("call", "call", "init", "vendor", vendor_name, "argv0", identity.path, "user",
           identity.user, "name", name != NULL ? name : "", (char *)NULL);
    read_control(&control);
    if (!suffer(&control, CALL_INIT, &result, &origin))
        result = initialize(&control, context);
    record_return(CALL_INIT, result, origin);
    return result;
}

static void drop_session(struct live_session *entry, TEEC_Session *session)
{
    if (entry->opened.service == SERVICE_MEMORY_TA)
        gp_host_close(entry->opened.ta_session);
    vendor_unlink(session);
    memset(entry, 0, sizeof(*entry));
}

static void drop_context(const struct control *control, TEEC_Context *context)
{
    struct live_context *entry = find_context(context);

    if (entry == NULL) {
        misused(control, CALL_FINALIZE, "the context wasn't initialised here, or is closed");
        return;
    }
    for (unsigned i = 0; i < MAX_LIVE; i++)
        if (sessions[i].session != NULL && sessions[i].context == context)
            misused(control, CALL_FINALIZE, "the context still has an open session");
    close(entry->fd);
    memset(entry, 0, sizeof(*entry));
    vendor_empty_context(context);
}

EXPORT void TEEC_FinalizeContext(TEEC_Context *context)
{
    struct control control;
    uint32_t ignored;

    record("call", "call", "finalize", (char *)NULL);
    read_control(&control);
    suffer(&control, CALL_FINALIZE, &ignored, &ignored);
    if (context == NULL)
        return;
    pthread_mutex_lock(&registry);
    drop_context(&control, context);
    pthread_mutex_unlock(&registry);
    record_return(CALL_FINALIZE, TEEC_SUCCESS, 0);
}

static bool is_memref(uint32_t type)
{
    return type >= TEEC_MEMREF_TEMP_INPUT && type <= TEEC_MEMREF_TEMP_INOUT;
}

/* The struct is read the vendor's way here: this is where another layout gives other figures. */
static void take_params(const TEEC_Operation *operation, TEE_Param params[TEE_PARAMS_NUM])
{
    memset(params, 0, sizeof(TEE_Param) * TEE_PARAMS_NUM);
    for (unsigned i = 0; i < TEEC_PARAM_NUM; i++) {
        uint32_t type = TEEC_PARAM_TYPE_GET(operation->paramTypes, i);

        if (is_memref(type)) {
            params[i].memref.buffer = operation->params[i].tmpref.buffer;
            params[i].memref.size = operation->params[i].tmpref.size;
        } else if (type != TEEC_NONE) {
            params[i].value.a = operation->params[i].value.a;
            params[i].value.b = operation->params[i].value.b;
        }
    }
}

static void give_params(TEEC_Operation *operation, const TEE_Param params[TEE_PARAMS_NUM])
{
    for (unsigned i = 0; i < TEEC_PARAM_NUM; i++) {
        uint32_t type = TEEC_PARAM_TYPE_GET(operation->paramTypes, i);

        if (type == TEEC_MEMREF_TEMP_OUTPUT || type == TEEC_MEMREF_TEMP_INOUT) {
            operation->params[i].tmpref.size =
                (__typeof__(operation->params[i].tmpref.size))params[i].memref.size;
        } else if (type == TEEC_VALUE_OUTPUT || type == TEEC_VALUE_INOUT) {
            operation->params[i].value.a = params[i].value.a;
            operation->params[i].value.b = params[i].value.b;
        }
    }
}

static TEEC_Result open_service(const struct control *control, const char *uuid,
                                struct opened *opened, uint32_t *origin)
{
    TEE_Param params[TEE_PARAMS_NUM] = {0};
    struct identity identity;
    bool named = vendor_has_callers && !control->anybody;
    bool from_ta = false;
    TEEC_Result result;

    *origin = TEEC_ORIGIN_TEE;
    opened->service = vendor_finds(control, uuid);
    if (opened->service == SERVICE_NONE)
        return vendor_has_callers ? 2U : TEEC_ERROR_ITEM_NOT_FOUND;
    if (opened->service == SERVICE_STATISTICS)
        return TEEC_SUCCESS;
    identify(&identity);
    result = gp_host_open(named ? identity.path : GP_HOST_ANYBODY, identity.user, 0, params,
                          &opened->ta_session, &from_ta);
    if (from_ta)
        *origin = TEEC_ORIGIN_TRUSTED_APP;
    if (result == TEE_ERROR_CA_CALLER_ACCESS_DENIED)
        complain(CALL_OPEN, "the caller's argv[0] and user aren't on the TA's allowlist");
    return result;
}

static const char *checks_open(const TEEC_Context *context, const TEEC_Session *session,
                               uint32_t method, const void *data, const TEEC_Operation *operation)
{
    const struct live_context *live = find_context(context);

    if (live == NULL)
        return "the context wasn't initialised here, or has moved";
    if (vendor_context_fd(context) != live->fd)
        return "the context was written to, or is laid out another way";
    if (find_session(session) != NULL)
        return "the session is open already";
    if (find_session(NULL) == NULL)
        return "too many sessions";
    return vendor_checks_open(context, method, data, operation);
}

static void add_session(TEEC_Context *context, TEEC_Session *session, const TEEC_UUID *uuid,
                        const struct opened *opened)
{
    struct live_session *entry = find_session(NULL);

    if (entry == NULL)
        return;
    *entry = (struct live_session){.session = session, .context = context, .opened = *opened};
    vendor_link(context, session, uuid, ++last_session_id);
}

static TEEC_Result open_session(const struct control *control, TEEC_Context *context,
                                TEEC_Session *session, const TEEC_UUID *destination,
                                uint32_t method, const void *data, TEEC_Operation *operation,
                                uint32_t *origin)
{
    struct opened opened = {0};
    char uuid[37];
    TEEC_Result result;

    if (misused(control, CALL_OPEN, checks_open(context, session, method, data, operation)))
        return TEEC_ERROR_BAD_PARAMETERS;
    if (operation != NULL)
        vendor_overwrites_open(operation);
    result = vendor_judges_operation(operation);
    if (result != TEEC_SUCCESS)
        return result;
    write_uuid(uuid, destination);
    result = vendor_judges_ta_file(control, context, uuid, origin);
    if (result == TEEC_SUCCESS)
        result = open_service(control, uuid, &opened, origin);
    if (result == TEEC_SUCCESS)
        add_session(context, session, destination, &opened);
    return result;
}

static void record_open(const TEEC_Context *context, const TEEC_UUID *destination,
                        uint32_t method, const TEEC_Operation *operation)
{
    struct identity identity;
    char types[11];
    char login[11];
    char started[11];
    char uuid[37] = "";

    identify(&identity);
    if (destination != NULL)
        write_uuid(uuid, destination);
    record("call", "call", "open", "argv0", identity.path, "user", identity.user, "uuid", uuid,
           "login", hex(login, method), "paramTypes",
           operation != NULL ? hex(types, operation->paramTypes) : "", "started",
           operation != NULL ? hex(started, operation->started) : "", "ta_path",
           context != NULL ? vendor_describes_context(context) : "", (char *)NULL);
}

EXPORT TEEC_Result TEEC_OpenSession(TEEC_Context *context, TEEC_Session *session,
                                    const TEEC_UUID *destination, uint32_t connectionMethod,
                                    const void *connectionData, TEEC_Operation *operation,
                                    uint32_t *returnOrigin)
{
    struct control control;
    TEEC_Result result = TEEC_ERROR_BAD_PARAMETERS;
    uint32_t origin = TEEC_ORIGIN_API;

    pthread_mutex_lock(&registry);
    record_open(find_context(context) != NULL ? context : NULL, destination, connectionMethod,
                operation);
    pthread_mutex_unlock(&registry);
    read_control(&control);
    if (!suffer(&control, CALL_OPEN, &result, &origin) && context != NULL && session != NULL &&
        destination != NULL) {
        pthread_mutex_lock(&registry);
        result = open_session(&control, context, session, destination, connectionMethod,
                              connectionData, operation, &origin);
        pthread_mutex_unlock(&registry);
    }
    if (context != NULL)
        vendor_retries_open(context, result);
    if (returnOrigin != NULL)
        *returnOrigin = origin;
    record_return(CALL_OPEN, result, origin);
    return result;
}

static void close_session(const struct control *control, TEEC_Session *session)
{
    struct live_session *entry = find_session(session);
    const char *why;

    if (entry == NULL) {
        misused(control, CALL_CLOSE, "the session wasn't opened here, is closed, or has moved");
        return;
    }
    why = vendor_checks_session(session, entry->context);
    if (why != NULL && misused(control, CALL_CLOSE, why))
        return;
    drop_session(entry, session);
}

EXPORT void TEEC_CloseSession(TEEC_Session *session)
{
    struct control control;
    uint32_t ignored;

    record("call", "call", "close", (char *)NULL);
    read_control(&control);
    suffer(&control, CALL_CLOSE, &ignored, &ignored);
    if (session == NULL)
        return;
    pthread_mutex_lock(&registry);
    close_session(&control, session);
    pthread_mutex_unlock(&registry);
    record_return(CALL_CLOSE, TEEC_SUCCESS, 0);
}

static TEEC_Result ask_ta(const struct control *control, const struct opened *opened,
                          uint32_t command, TEEC_Operation *operation, uint32_t *origin)
{
    struct gp_host_memory memory = {
        .mem_unit = control->mem_unit,
        .result = control->sysinfo_result,
    };
    unsigned unit = control->mem_unit != 0 ? control->mem_unit : 1;
    TEE_Param params[TEE_PARAMS_NUM];
    TEEC_Result result;

    memory.totalram = control->totalram.set ? control->totalram.value : control->total_bytes / unit;
    memory.freeram = control->freeram.set ? control->freeram.value : control->free_bytes / unit;
    take_params(operation, params);
    if (opened->service == SERVICE_MEMORY_TA)
        result = gp_host_invoke(opened->ta_session, command, operation->paramTypes & 0xFFFF, params,
                                &memory);
    else
        result = vendor_invokes(control, opened->service, command, operation->paramTypes, params);
    give_params(operation, params);
    if (result != TEEC_SUCCESS)
        return result;
    result = vendor_overrides(control, opened->service, operation);
    if (result != TEEC_SUCCESS)
        *origin = TEEC_ORIGIN_COMMS;
    return result;
}

static const char *checks_invoke(const TEEC_Session *session, const struct live_session *live,
                                 const TEEC_Operation *operation)
{
    const char *why;

    if (live == NULL)
        return "the session wasn't opened here, is closed, or has moved";
    if (find_context(live->context) == NULL)
        return "the session's context is closed";
    if (operation == NULL)
        return "there is no operation";
    why = vendor_checks_session(session, live->context);
    return why != NULL ? why : vendor_checks_operation(operation);
}

static TEEC_Result invoke(const struct control *control, TEEC_Session *session, uint32_t command,
                          TEEC_Operation *operation, uint32_t *origin)
{
    struct live_session *live;
    struct opened opened = {0};
    const char *why;
    bool dead;
    TEEC_Result result;

    pthread_mutex_lock(&registry);
    live = find_session(session);
    why = checks_invoke(session, live, operation);
    dead = live != NULL && live->dead;
    if (live != NULL)
        opened = live->opened;
    pthread_mutex_unlock(&registry);
    if (misused(control, CALL_INVOKE, why) || live == NULL || operation == NULL)
        return TEEC_ERROR_BAD_PARAMETERS;
    result = vendor_judges_operation(operation);
    if (result != TEEC_SUCCESS)
        return result;
    *origin = dead ? TEEC_ORIGIN_TEE : TEEC_ORIGIN_TRUSTED_APP;
    return dead ? TEEC_ERROR_TARGET_DEAD : ask_ta(control, &opened, command, operation, origin);
}

/* After a panic every later call of the session meets the dead. */
static void note_death(const TEEC_Session *session, TEEC_Result result)
{
    struct live_session *live;

    if (result != TEEC_ERROR_TARGET_DEAD)
        return;
    pthread_mutex_lock(&registry);
    live = find_session(session);
    if (live != NULL)
        live->dead = true;
    pthread_mutex_unlock(&registry);
}

static void record_invoke(uint32_t command, const TEEC_Operation *operation)
{
    struct identity identity;
    char types[11];
    char started[11];
    char number[11];

    identify(&identity);
    record("call", "call", "invoke", "argv0", identity.path, "user", identity.user, "command",
           hex(number, command), "paramTypes",
           operation != NULL ? hex(types, operation->paramTypes) : "", "started",
           operation != NULL ? hex(started, operation->started) : "", (char *)NULL);
}

EXPORT TEEC_Result TEEC_InvokeCommand(TEEC_Session *session, uint32_t commandID,
                                      TEEC_Operation *operation, uint32_t *returnOrigin)
{
    struct control control;
    TEEC_Result result = TEEC_ERROR_BAD_PARAMETERS;
    uint32_t origin = TEEC_ORIGIN_API;

    record_invoke(commandID, operation);
    read_control(&control);
    if (!suffer(&control, CALL_INVOKE, &result, &origin) && session != NULL)
        result = invoke(&control, session, commandID, operation, &origin);
    note_death(session, result);
    if (returnOrigin != NULL)
        *returnOrigin = origin;
    record_return(CALL_INVOKE, result, origin);
    return result;
}

/* Exported because the vendors' libraries do; no client of ours needs shared memory. */
EXPORT TEEC_Result TEEC_RegisterSharedMemory(TEEC_Context *context, TEEC_SharedMemory *sharedMem)
{
    (void)context;
    (void)sharedMem;
    return TEEC_ERROR_NOT_SUPPORTED;
}

EXPORT TEEC_Result TEEC_AllocateSharedMemory(TEEC_Context *context, TEEC_SharedMemory *sharedMem)
{
    (void)context;
    (void)sharedMem;
    return TEEC_ERROR_NOT_SUPPORTED;
}

EXPORT void TEEC_ReleaseSharedMemory(TEEC_SharedMemory *sharedMem)
{
    (void)sharedMem;
}

/* Neither driver can cancel: a client that relies on it would wait for ever. */
EXPORT void TEEC_RequestCancellation(TEEC_Operation *operation)
{
    (void)operation;
    record("call", "call", "cancel", (char *)NULL);
}
