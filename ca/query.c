#define _GNU_SOURCE
#include "query.h"

#include <signal.h>
#include <string.h>

#include "../ta/reply.h"
#include "libteec.h"

#define MEMORY_PARAM 0
#define UNIT_PARAM   3
#define STARTED      1 /* 0 would mean an operation that was cancelled before it began */

#define COMMAND_TYPES \
    TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE, TEEC_VALUE_OUTPUT)

/* Success alone proves nothing: a foreign layout and a foreign TA answer with it too. */
static bool accept(const TEEC_Operation *operation, const struct ta_memory *reply,
                   struct tee_memory *memory)
{
    uint64_t unit = operation->params[UNIT_PARAM].value.a;

    if (operation->params[MEMORY_PARAM].tmpref.size != sizeof(*reply) || unit == 0)
        return false;
    if (reply->total == 0 || reply->free > reply->total)
        return false;
    /* Multiplied before anything is divided, so that no part of a unit is lost. */
    return !__builtin_mul_overflow(reply->total, unit, &memory->total_bytes) &&
           !__builtin_mul_overflow(reply->free, unit, &memory->free_bytes);
}

static bool invoke(const struct libteec *libteec, TEEC_Session *session, struct tee_memory *memory)
{
    struct ta_memory reply = {0};
    TEEC_Operation operation;
    uint32_t origin = 0;

    memset(&operation, 0, sizeof(operation));
    operation.started = STARTED;
    operation.paramTypes = COMMAND_TYPES;
    operation.params[MEMORY_PARAM].tmpref.buffer = &reply;
    operation.params[MEMORY_PARAM].tmpref.size = sizeof(reply);
    if (libteec->invoke_command(session, TA_CMD_GET_MEMORY, &operation, &origin) != TEEC_SUCCESS)
        return false;
    return accept(&operation, &reply, memory);
}

static bool ask_in_session(const struct libteec *libteec, const struct settings *settings,
                           TEEC_Context *context, struct tee_memory *memory)
{
    TEEC_Operation operation;
    TEEC_Session session;
    uint32_t origin = 0;
    bool answered;

    memset(&session, 0, sizeof(session));
    memset(&operation, 0, sizeof(operation));
    operation.started = STARTED;
    if (libteec->open_session(context, &session, &settings->uuid, TEEC_LOGIN_IDENTIFY, NULL,
                              &operation, &origin) != TEEC_SUCCESS)
        return false;
    answered = invoke(libteec, &session, memory);
    libteec->close_session(&session);
    return answered;
}

static bool ask(const struct libteec *libteec, const struct settings *settings,
                struct tee_memory *memory)
{
    char ta_path[MAX_TA_PATH];
    TEEC_Context context;
    bool answered;

    memset(&context, 0, sizeof(context));
    if (libteec->initialize_context(NULL, &context) != TEEC_SUCCESS)
        return false;
    memcpy(ta_path, settings->ta_path, sizeof(ta_path));
    context.ta_path = (uint8_t *)ta_path; /* only now: the call above resets it */
    answered = ask_in_session(libteec, settings, &context, memory);
    libteec->finalize_context(&context);
    return answered;
}

bool query_tee(const struct settings *settings, struct tee_memory *memory)
{
    const struct libteec *libteec = load_libteec();
    sigset_t all;
    sigset_t before;
    bool answered;

    if (libteec == NULL)
        return false;
    /* A signal that is handled meanwhile would fail libteec's login. */
    sigfillset(&all);
    if (pthread_sigmask(SIG_BLOCK, &all, &before) != 0)
        return false;
    answered = ask(libteec, settings, memory);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return answered;
}
