/*
 * A client that uses a libteec rightly, or wrong in one named way, and prints each result.  It is
 * compiled with each vendor's header: LAYOUT_OPTEE tells which.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tee_client_api.h>

#include "reply.h"

#ifdef LAYOUT_OPTEE
#define LOGIN       TEEC_LOGIN_PUBLIC
#define OTHER_LOGIN 7U
#define STARTED     0U
#else
#define LOGIN       TEEC_LOGIN_IDENTIFY
#define OTHER_LOGIN TEEC_LOGIN_PUBLIC
#define STARTED     1U
#endif

#define RIGHT_TYPES \
    TEEC_PARAM_TYPES(TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE, TEEC_VALUE_OUTPUT)
#define STATISTICS_TYPES \
    TEEC_PARAM_TYPES(TEEC_VALUE_INPUT, TEEC_MEMREF_TEMP_OUTPUT, TEEC_NONE, TEEC_NONE)

static const TEEC_UUID memory_uuid = {
    0xe3d37f4a, 0xf24c, 0x48d0, {0x88, 0x84, 0x3b, 0xdd, 0x6c, 0x44, 0xe9, 0x88}};
static const TEEC_UUID statistics_uuid = {
    0xd96a5b40, 0xe2c7, 0xb1af, {0x87, 0x94, 0x10, 0x02, 0xa5, 0xd5, 0xc6, 0x1b}};

static __typeof__(&TEEC_InitializeContext) initialize;
static __typeof__(&TEEC_FinalizeContext) finalize;
static __typeof__(&TEEC_OpenSession) open_session;
static __typeof__(&TEEC_CloseSession) close_session;
static __typeof__(&TEEC_InvokeCommand) invoke_command;

/* Static: what is left open at the end is still there for the library to see. */
static TEEC_Context context;
static TEEC_Context other_context;
static TEEC_Session session;
static TEEC_Session other_session;
static TEEC_Operation operation;
static struct ta_memory reply;
static unsigned char statistics[64];
static const char *ta_path;

static void load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct {
        const char *name;
        void *function;
    } calls[] = {
        {"TEEC_InitializeContext", &initialize}, {"TEEC_FinalizeContext", &finalize},
        {"TEEC_OpenSession", &open_session},     {"TEEC_CloseSession", &close_session},
        {"TEEC_InvokeCommand", &invoke_command},
    };

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        void *symbol = library != NULL ? dlsym(library, calls[i].name) : NULL;

        if (symbol == NULL) {
            fprintf(stderr, "misuse: %s\n", dlerror());
            exit(2);
        }
        memcpy(calls[i].function, &symbol, sizeof(symbol));
    }
}

static void print(const char *call, TEEC_Result result, uint32_t origin)
{
    printf("%s 0x%08x %u\n", call, result, origin);
}

static void prepare(TEEC_Context *which)
{
    print("init", initialize(NULL, which), TEEC_ORIGIN_API);
#ifndef LAYOUT_OPTEE
    which->ta_path = (uint8_t *)ta_path;
#endif
}

static void open_with(TEEC_Context *which, const TEEC_UUID *uuid, uint32_t login, const void *data)
{
    uint32_t origin = 0;
    TEEC_Result result;

    memset(&operation, 0, sizeof(operation));
    operation.started = STARTED;
    result = open_session(which, &session, uuid, login, data, &operation, &origin);
    print("open", result, origin);
}

static void open_rightly(void)
{
    prepare(&context);
    open_with(&context, &memory_uuid, LOGIN, NULL);
}

static void fill(void)
{
    memset(&operation, 0, sizeof(operation));
    operation.started = STARTED;
    operation.paramTypes = RIGHT_TYPES;
    operation.params[0].tmpref.buffer = &reply;
    operation.params[0].tmpref.size = sizeof(reply);
}

static void invoke(TEEC_Session *which)
{
    uint32_t origin = 0;
    TEEC_Result result = invoke_command(which, TA_CMD_GET_MEMORY, &operation, &origin);

    print("invoke", result, origin);
}

static void close_both(void)
{
    close_session(&session);
    finalize(&context);
}

static void rightly(void)
{
    open_rightly();
    fill();
    invoke(&session);
    printf("reply %llu %llu %u %zu\n", (unsigned long long)reply.total,
           (unsigned long long)reply.free, operation.params[3].value.a,
           (size_t)operation.params[0].tmpref.size);
    close_both();
}

static void context_never_initialised(void)
{
    open_with(&context, &memory_uuid, LOGIN, NULL);
}

static void context_initialised_twice(void)
{
    prepare(&context);
    prepare(&context);
    finalize(&context);
}

static void context_moved(void)
{
    prepare(&context);
    other_context = context;
    open_with(&other_context, &memory_uuid, LOGIN, NULL);
    finalize(&context);
}

static void context_written_to(void)
{
    prepare(&context);
    context.fd += 1;
    open_with(&context, &memory_uuid, LOGIN, NULL);
    finalize(&context);
}

static void context_closed_first(void)
{
    open_rightly();
    finalize(&context);
    fill();
    invoke(&session);
}

static void session_moved(void)
{
    open_rightly();
    other_session = session;
    fill();
    invoke(&other_session);
    close_both();
}

static void session_written_to(void)
{
    uint32_t id;

    open_rightly();
    id = session.session_id;
    session.session_id = 0;
    fill();
    invoke(&session);
    session.session_id = id;
    close_both();
}

static void session_used_after_its_close(void)
{
    open_rightly();
    close_session(&session);
    fill();
    invoke(&session);
    finalize(&context);
}

static void session_closed_twice(void)
{
    open_rightly();
    close_session(&session);
    close_session(&session);
    finalize(&context);
}

static void session_left_open(void)
{
    open_rightly();
}

static void login_of_the_other_vendor(void)
{
    prepare(&context);
    open_with(&context, &memory_uuid, OTHER_LOGIN, NULL);
    finalize(&context);
}

static void login_with_data(void)
{
    prepare(&context);
    open_with(&context, &memory_uuid, LOGIN, &reply);
    finalize(&context);
}

static void unknown_uuid(void)
{
    TEEC_UUID uuid = memory_uuid;

    uuid.timeLow ^= 1;
    prepare(&context);
    open_with(&context, &uuid, LOGIN, NULL);
    finalize(&context);
}

static void started_of_the_other_vendor(void)
{
    open_rightly();
    fill();
    operation.started = !STARTED;
    invoke(&session);
    close_both();
}

static void types_of_the_open(void)
{
    open_rightly();
    fill();
    operation.paramTypes &= 0xFF; /* what iTrustee's open leaves of them */
    invoke(&session);
    close_both();
}

static void types_unknown(void)
{
    open_rightly();
    fill();
    operation.paramTypes |= 0x40;
    invoke(&session);
    close_both();
}

static void types_above_16_bits(void)
{
    open_rightly();
    fill();
    operation.paramTypes = RIGHT_TYPES | 0x10000;
    invoke(&session);
    close_both();
}

static void types_of_itrustee(void)
{
    static const uint32_t types[] = {8, 12, 13, 14, 15};

    open_rightly();
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        fill();
        operation.paramTypes |= types[i] << 4;
        invoke(&session);
    }
    close_both();
}

static void buffer_empty(void)
{
    open_rightly();
    fill();
    operation.params[0].tmpref.buffer = NULL;
    operation.params[0].tmpref.size = 0;
    invoke(&session);
    close_both();
}

static void buffer_half_empty(void)
{
    open_rightly();
    fill();
    operation.params[0].tmpref.buffer = NULL;
    invoke(&session);
    fill();
    operation.params[0].tmpref.size = 0;
    invoke(&session);
    close_both();
}

static void buffer_short(void)
{
    open_rightly();
    fill();
    operation.params[0].tmpref.size = 15;
    invoke(&session);
    printf("needed %zu\n", (size_t)operation.params[0].tmpref.size);
    close_both();
}

static void two_calls(void)
{
    open_rightly();
    fill();
    invoke(&session);
    fill();
    invoke(&session);
    close_session(&session);
    open_with(&context, &memory_uuid, LOGIN, NULL);
    close_both();
}

/* What the library writes into the session itself, by iTrustee's names. */
static void session_printed(void)
{
#ifndef LAYOUT_OPTEE
    open_rightly();
    printf("opened %u %u %d\n", session.ops_cnt, session.service_id.timeLow == memory_uuid.timeLow,
           session.context == &context);
    close_both();
    printf("closed %u %u %u %d\n", session.session_id, session.service_id.timeLow, session.ops_cnt,
           session.context == NULL);
#endif
}

static void ask_statistics(uint32_t pool, size_t room)
{
    uint32_t origin = 0;
    TEEC_Result result;

    memset(&operation, 0, sizeof(operation));
    operation.paramTypes = STATISTICS_TYPES;
    operation.params[0].value.a = pool;
    operation.params[1].tmpref.buffer = statistics;
    operation.params[1].tmpref.size = (__typeof__(operation.params[1].tmpref.size))room;
    result = invoke_command(&session, 1, &operation, &origin);
    print("invoke", result, origin);
    printf("size %zu\n", (size_t)operation.params[1].tmpref.size);
}

static void print_statistics(void)
{
    size_t at = operation.params[1].tmpref.size == 64 ? 40 : 32;
    uint32_t numbers[3];

    memcpy(numbers, statistics + at, sizeof(numbers));
    printf("record %s %u %u %u\n", (const char *)statistics, numbers[0], numbers[1], numbers[2]);
}

static void statistics_rightly(void)
{
    prepare(&context);
    open_with(&context, &statistics_uuid, LOGIN, NULL);
    ask_statistics(3, sizeof(statistics));
    print_statistics();
    ask_statistics(3, 8);
    ask_statistics(4, sizeof(statistics));
    print_statistics();
    ask_statistics(99, sizeof(statistics));
    close_both();
}

#define WAY(name) {#name, name}
static const struct {
    const char *name;
    void (*run)(void);
} ways[] = {
    WAY(rightly),
    WAY(context_never_initialised),
    WAY(context_initialised_twice),
    WAY(context_moved),
    WAY(context_written_to),
    WAY(context_closed_first),
    WAY(session_moved),
    WAY(session_written_to),
    WAY(session_used_after_its_close),
    WAY(session_closed_twice),
    WAY(session_left_open),
    WAY(login_of_the_other_vendor),
    WAY(login_with_data),
    WAY(unknown_uuid),
    WAY(started_of_the_other_vendor),
    WAY(types_of_the_open),
    WAY(types_unknown),
    WAY(types_above_16_bits),
    WAY(types_of_itrustee),
    WAY(buffer_empty),
    WAY(buffer_half_empty),
    WAY(session_printed),
    WAY(buffer_short),
    WAY(two_calls),
    WAY(statistics_rightly),
};

/* misuse LIBRARY WAY [TA_PATH] */
int main(int count, char **arguments)
{
    if (count < 3)
        return 2;
    load(arguments[1]);
    ta_path = count > 3 ? arguments[3] : NULL;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (strcmp(ways[i].name, arguments[2]) == 0) {
            ways[i].run();
            return 0;
        }
    }
    return 2;
}
