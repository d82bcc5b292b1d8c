/*
 * Calls the trusted application's entry points as a TEE would, with everything a hostile client
 * could have it hand over.  Prints what went wrong; silence and status 0 are success.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gp_host.h"
#include "reply.h"

#define GOOD_TYPES 0x2006U

static const char path[] = "/vendor/bin/tee-device-plugin";
static const struct gp_host_memory plenty = {.totalram = 1000, .freeram = 400, .mem_unit = 4096};
static int failures;

static void expect(const char *what, uint32_t is, uint32_t wanted)
{
    if (is == wanted)
        return;
    fprintf(stderr, "%s: 0x%08x, not 0x%08x\n", what, is, wanted);
    failures++;
}

static TEE_Result open_as(const char *caller, const char *user)
{
    TEE_Param params[TEE_PARAMS_NUM] = {0};
    void *session = &failures;
    bool from_ta;
    TEE_Result result = gp_host_open(caller, user, 0, params, &session, &from_ta);

    if (result == TEE_SUCCESS)
        gp_host_close(session);
    return result;
}

static void check_callers(void)
{
    expect("the caller", open_as(path, "root"), TEE_SUCCESS);
    expect("another path", open_as("/vendor/bin/tee-device-plugi", "root"),
           TEE_ERROR_CA_CALLER_ACCESS_DENIED);
    expect("another user", open_as(path, "nobody-else"), TEE_ERROR_CA_CALLER_ACCESS_DENIED);
    expect("nothing", open_as("", ""), TEE_ERROR_CA_CALLER_ACCESS_DENIED);
}

static TEE_Result ask(void *buffer, size_t size, const struct gp_host_memory *memory,
                      TEE_Param params[TEE_PARAMS_NUM])
{
    memset(params, 0, sizeof(TEE_Param) * TEE_PARAMS_NUM);
    params[0].memref.buffer = buffer;
    params[0].memref.size = size;
    return gp_host_invoke(NULL, TA_CMD_GET_MEMORY, GOOD_TYPES, params, memory);
}

static void check_answer(void)
{
    TEE_Param params[TEE_PARAMS_NUM];
    struct ta_memory reply;

    expect("the answer", ask(&reply, sizeof(reply), &plenty, params), TEE_SUCCESS);
    expect("its total", (uint32_t)reply.total, 1000);
    expect("its free", (uint32_t)reply.free, 400);
    expect("its unit", params[3].value.a, 4096);
    expect("its size", (uint32_t)params[0].memref.size, sizeof(reply));
}

static void check_larger_and_odd_buffers(void)
{
    TEE_Param params[TEE_PARAMS_NUM];
    unsigned char room[64];
    struct ta_memory reply;

    memset(room, 0xee, sizeof(room));
    expect("a larger buffer", ask(room + 1, 40, &plenty, params), TEE_SUCCESS);
    expect("its size", (uint32_t)params[0].memref.size, sizeof(reply));
    memcpy(&reply, room + 1, sizeof(reply));
    expect("its total", (uint32_t)reply.total, 1000);
    expect("what follows it", room[1 + sizeof(reply)], 0xee);
}

static void check_short_buffers(void)
{
    unsigned char room[16] = {0};
    TEE_Param params[TEE_PARAMS_NUM];

    for (size_t size = 0; size < sizeof(room); size++) {
        expect("a short buffer", ask(room, size, &plenty, params), TEE_ERROR_SHORT_BUFFER);
        expect("the size it needs", (uint32_t)params[0].memref.size, 16);
    }
    expect("no buffer", ask(NULL, 16, &plenty, params), TEE_ERROR_BAD_PARAMETERS);
    expect("no buffer of no size", ask(NULL, 0, &plenty, params), TEE_ERROR_SHORT_BUFFER);
}

static void check_types(void)
{
    unsigned char room[16];

    for (uint32_t types = 0; types <= 0xFFFF; types++) {
        TEE_Param params[TEE_PARAMS_NUM] = {0};

        for (unsigned i = 0; i < TEE_PARAMS_NUM; i++) {
            params[i].memref.buffer = room;
            params[i].memref.size = sizeof(room);
        }
        if (types != GOOD_TYPES)
            expect("other types", gp_host_invoke(NULL, 0, types, params, &plenty),
                   TEE_ERROR_BAD_PARAMETERS);
    }
}

static void check_commands(void)
{
    static const uint32_t commands[] = {1, 2, 0x7FFFFFFF, 0xFFFFFFFF};
    TEE_Param params[TEE_PARAMS_NUM] = {0};

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        expect("another command", gp_host_invoke(NULL, commands[i], GOOD_TYPES, params, &plenty),
               TEE_ERROR_NOT_SUPPORTED);
}

static void check_sysinfo(void)
{
    static const struct {
        const char *what;
        struct gp_host_memory memory;
        TEE_Result result;
    } cases[] = {
        {"a failure", {.totalram = 1, .mem_unit = 1, .result = -1}, TEE_ERROR_GENERIC},
        {"no unit", {.totalram = 1}, TEE_ERROR_BAD_STATE},
        {"no memory", {.mem_unit = 1}, TEE_ERROR_BAD_STATE},
        {"more free", {.totalram = 1, .freeram = 2, .mem_unit = 1}, TEE_ERROR_BAD_STATE},
        {"too much", {.totalram = 1UL << 62, .mem_unit = 4}, TEE_ERROR_OVERFLOW},
        {"the most", {.totalram = ~0UL, .freeram = ~0UL, .mem_unit = 1}, TEE_SUCCESS},
        {"the most in large units", {.totalram = ~0UL >> 32, .mem_unit = ~0U}, TEE_SUCCESS},
        {"nothing free", {.totalram = 1, .mem_unit = 1}, TEE_SUCCESS},
    };
    unsigned char room[16];
    TEE_Param params[TEE_PARAMS_NUM];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        expect(cases[i].what, ask(room, sizeof(room), &cases[i].memory, params), cases[i].result);
}

int main(void)
{
    check_callers();
    check_answer();
    check_larger_and_odd_buffers();
    check_short_buffers();
    check_types();
    check_commands();
    check_sysinfo();
    return failures != 0;
}
