/*
 * The trusted application that tells how much secure memory the TEE has.
 *
 * It answers one command and keeps no state.  Whatever it is asked, it returns a result: a panic
 * would take the instance, and with it every other client's session, down.
 */
#include <stddef.h>
#include <stdint.h>

#include <tee_ext_api.h>
#include <tee_log.h>

/* The SDK's, 368 bytes: the kernel's struct of that name is 112 and sysinfo() would overrun it. */
#include <sys/sysinfo.h>

#include "callers.h"
#include "reply.h"

#define MEMORY_PARAM 0U
#define UNIT_PARAM   3U

_Static_assert(sizeof(struct sysinfo) == 368, "not the SDK's <sys/sysinfo.h>");

struct caller {
    const char *path;
    const char *user;
};

#define CALLER(path, user) {path, user},
static const struct caller callers[] = {TA_CALLERS(CALLER)};
#undef CALLER

/* The framework finds these by name; its headers declare none of them. */
TEE_Result TA_CreateEntryPoint(void);
TEE_Result TA_OpenSessionEntryPoint(uint32_t types, TEE_Param params[TEE_PARAMS_NUM],
                                    void **session_context);
TEE_Result TA_InvokeCommandEntryPoint(void *session_context, uint32_t command, uint32_t types,
                                      TEE_Param params[TEE_PARAMS_NUM]);
void TA_CloseSessionEntryPoint(void *session_context);
void TA_DestroyEntryPoint(void);

TEE_Result TA_CreateEntryPoint(void)
{
    for (size_t i = 0; i < sizeof(callers) / sizeof(callers[0]); i++) {
        TEE_Result result = addcaller_ca_exec(callers[i].path, callers[i].user);

        if (result != TEE_SUCCESS) {
            SLogError("tee-memory: caller %s can't be allowed: 0x%x", callers[i].path, result);
            return result;
        }
    }
    return TEE_SUCCESS;
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t types, TEE_Param params[TEE_PARAMS_NUM],
                                    void **session_context)
{
    /* Parameters of an open are the framework's own; a session has nothing to remember. */
    (void)types;
    (void)params;
    if (session_context != NULL)
        *session_context = NULL;
    return TEE_SUCCESS;
}

/* Refuse figures no client could use: clients multiply both by the unit, in 64 bits. */
static TEE_Result check(const struct sysinfo *info)
{
    if (info->mem_unit == 0 || info->totalram == 0) {
        SLogError("tee-memory: sysinfo() gave nothing");
        return TEE_ERROR_BAD_STATE;
    }
    if (info->freeram > info->totalram) {
        SLogError("tee-memory: sysinfo() gave more free than there is");
        return TEE_ERROR_BAD_STATE;
    }
    if (info->totalram > UINT64_MAX / info->mem_unit) {
        SLogError("tee-memory: sysinfo() gave more than 64 bits of memory");
        return TEE_ERROR_OVERFLOW;
    }
    return TEE_SUCCESS;
}

static TEE_Result read_memory(struct ta_memory *memory, uint32_t *unit)
{
    struct sysinfo info = {0};
    TEE_Result result;

    if (sysinfo(&info) != 0) {
        SLogError("tee-memory: sysinfo() failed");
        return TEE_ERROR_GENERIC;
    }
    result = check(&info);
    if (result != TEE_SUCCESS)
        return result;
    memory->total = info.totalram;
    memory->free = info.freeram;
    *unit = info.mem_unit;
    return TEE_SUCCESS;
}

/* The buffer is shared memory of any alignment, so it is filled byte by byte. */
static void copy(void *destination, const void *source, size_t bytes)
{
    unsigned char *to = destination;
    const unsigned char *from = source;

    while (bytes-- > 0)
        *to++ = *from++;
}

static TEE_Result get_memory(uint32_t types, TEE_Param params[TEE_PARAMS_NUM])
{
    struct ta_memory memory = {0};
    uint32_t unit = 0;
    TEE_Result result;

    if (types != TEE_PARAM_TYPES((uint32_t)TEE_PARAM_TYPE_MEMREF_OUTPUT,
                                 (uint32_t)TEE_PARAM_TYPE_NONE, (uint32_t)TEE_PARAM_TYPE_NONE,
                                 (uint32_t)TEE_PARAM_TYPE_VALUE_OUTPUT))
        return TEE_ERROR_BAD_PARAMETERS;
    if (params == NULL)
        return TEE_ERROR_BAD_PARAMETERS;
    if (params[MEMORY_PARAM].memref.size < sizeof(memory)) {
        params[MEMORY_PARAM].memref.size = sizeof(memory);
        return TEE_ERROR_SHORT_BUFFER;
    }
    if (params[MEMORY_PARAM].memref.buffer == NULL)
        return TEE_ERROR_BAD_PARAMETERS;
    result = read_memory(&memory, &unit);
    if (result != TEE_SUCCESS)
        return result;
    copy(params[MEMORY_PARAM].memref.buffer, &memory, sizeof(memory));
    params[MEMORY_PARAM].memref.size = sizeof(memory);
    params[UNIT_PARAM].value.a = unit;
    params[UNIT_PARAM].value.b = 0;
    return TEE_SUCCESS;
}

TEE_Result TA_InvokeCommandEntryPoint(void *session_context, uint32_t command, uint32_t types,
                                      TEE_Param params[TEE_PARAMS_NUM])
{
    (void)session_context;
    if (command != TA_CMD_GET_MEMORY)
        return TEE_ERROR_NOT_SUPPORTED;
    return get_memory(types, params);
}

void TA_CloseSessionEntryPoint(void *session_context)
{
    (void)session_context;
}

void TA_DestroyEntryPoint(void)
{
}
