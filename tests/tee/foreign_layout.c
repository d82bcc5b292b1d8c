/*
 * Gives a libteec an operation laid out iTrustee's way, whichever library it is, and prints what
 * comes back.  OP-TEE's answers with success, the right total and free, and a unit of 0: that is
 * what the clients' acceptance rule is there for.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tee_client_api.h>

#include "reply.h"

static const TEEC_UUID uuid = {
    0xe3d37f4a, 0xf24c, 0x48d0, {0x88, 0x84, 0x3b, 0xdd, 0x6c, 0x44, 0xe9, 0x88}};

static void *library;

static void find(const char *name, void *function)
{
    void *symbol = dlsym(library, name);

    if (symbol == NULL) {
        fprintf(stderr, "foreign_layout: %s\n", dlerror());
        exit(2);
    }
    memcpy(function, &symbol, sizeof(symbol));
}

static TEEC_Result open_session(TEEC_Context *context, TEEC_Session *session)
{
    __typeof__(&TEEC_InitializeContext) initialize;
    __typeof__(&TEEC_OpenSession) open;
    TEEC_Result result;

    find("TEEC_InitializeContext", &initialize);
    find("TEEC_OpenSession", &open);
    result = initialize(NULL, context);
    if (result != TEEC_SUCCESS)
        return result;
    return open(context, session, &uuid, TEEC_LOGIN_PUBLIC, NULL, NULL, NULL);
}

static TEEC_Result invoke(TEEC_Session *session, TEEC_Operation *operation)
{
    __typeof__(&TEEC_InvokeCommand) call;

    find("TEEC_InvokeCommand", &call);
    return call(session, TA_CMD_GET_MEMORY, operation, NULL);
}

static void close_both(TEEC_Context *context, TEEC_Session *session)
{
    __typeof__(&TEEC_CloseSession) close;
    __typeof__(&TEEC_FinalizeContext) finalize;

    find("TEEC_CloseSession", &close);
    find("TEEC_FinalizeContext", &finalize);
    close(session);
    finalize(context);
}

int main(int count, char **arguments)
{
    TEEC_Operation operation = {.started = 1};
    struct ta_memory reply = {0};
    TEEC_Context context = {0};
    TEEC_Session session = {0};
    TEEC_Result result;

    library = count > 1 ? dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    if (library == NULL)
        return 2;
    result = open_session(&context, &session);
    if (result != TEEC_SUCCESS) {
        fprintf(stderr, "foreign_layout: no session: 0x%08x\n", result);
        return 1;
    }
    operation.paramTypes =
        TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE, TEEC_VALUE_OUTPUT);
    operation.params[0].tmpref.buffer = &reply;
    operation.params[0].tmpref.size = sizeof(reply);
    result = invoke(&session, &operation);
    printf("result=0x%08x size=%u total=%llu free=%llu unit=%u\n", result,
           operation.params[0].tmpref.size, (unsigned long long)reply.total,
           (unsigned long long)reply.free, operation.params[3].value.a);
    close_both(&context, &session);
    return 0;
}
