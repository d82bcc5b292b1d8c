#include "gp_host.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "record.h"
#include "tee_ext_api.h"
#include "tee_log.h"

#define MAX_CALLERS 16
#define MAX_NAME    256

TEE_Result TA_CreateEntryPoint(void);
TEE_Result TA_OpenSessionEntryPoint(uint32_t types, TEE_Param params[TEE_PARAMS_NUM],
                                    void **session_context);
TEE_Result TA_InvokeCommandEntryPoint(void *session_context, uint32_t command, uint32_t types,
                                      TEE_Param params[TEE_PARAMS_NUM]);
void TA_CloseSessionEntryPoint(void *session_context);
void TA_DestroyEntryPoint(void);

struct caller {
    char path[MAX_NAME];
    char user[MAX_NAME];
};

/* A single instance: one call at a time, and it stays once created. */
static pthread_mutex_t instance = PTHREAD_MUTEX_INITIALIZER;
static bool created;
static struct caller callers[MAX_CALLERS];
static unsigned caller_count;
static struct gp_host_memory memory_now;

TEE_Result addcaller_ca_exec(const char *ca_name, const char *user_name)
{
    struct caller *caller;

    if (ca_name == NULL || user_name == NULL)
        return TEE_ERROR_BAD_PARAMETERS;
    if (strlen(ca_name) >= MAX_NAME || strlen(user_name) >= MAX_NAME)
        return TEE_ERROR_BAD_PARAMETERS;
    if (caller_count == MAX_CALLERS)
        return TEE_ERROR_OUT_OF_MEMORY;
    caller = &callers[caller_count++];
    strcpy(caller->path, ca_name);
    strcpy(caller->user, user_name);
    return TEE_SUCCESS;
}

void SLog(const char *format, ...)
{
    char line[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    record("ta_log", "text", line, (char *)NULL);
}

/* Every byte of the TEE's larger struct is written, so that a smaller one is overrun for sure. */
int sysinfo(struct sysinfo *info)
{
    memset(info, 0, sizeof(*info));
    info->totalram = memory_now.totalram;
    info->freeram = memory_now.freeram;
    info->mem_unit = memory_now.mem_unit;
    return memory_now.result;
}

static bool allowed(const char *path, const char *user)
{
    if (path == GP_HOST_ANYBODY)
        return true;
    for (unsigned i = 0; i < caller_count; i++)
        if (strcmp(callers[i].path, path) == 0 && strcmp(callers[i].user, user) == 0)
            return true;
    return false;
}

static TEE_Result create(void)
{
    TEE_Result result;

    if (created)
        return TEE_SUCCESS;
    caller_count = 0;
    result = TA_CreateEntryPoint();
    created = result == TEE_SUCCESS;
    return result;
}

__attribute__((destructor)) static void destroy(void)
{
    if (created)
        TA_DestroyEntryPoint();
    created = false;
}

static bool is_memref(uint32_t types, unsigned index)
{
    uint32_t type = TEE_PARAM_TYPE_GET(types, index);

    return type >= TEE_PARAM_TYPE_MEMREF_INPUT && type <= TEE_PARAM_TYPE_MEMREF_INOUT;
}

static void free_memrefs(uint32_t types, TEE_Param inside[TEE_PARAMS_NUM],
                         void *const buffers[TEE_PARAMS_NUM])
{
    for (unsigned i = 0; i < TEE_PARAMS_NUM; i++)
        if (is_memref(types, i))
            free(buffers[i]);
    memset(inside, 0, sizeof(TEE_Param) * TEE_PARAMS_NUM);
}

/* Copies of exactly the size that was offered let the sanitizers see one byte too many. */
static bool take_in(uint32_t types, const TEE_Param outside[TEE_PARAMS_NUM],
                    TEE_Param inside[TEE_PARAMS_NUM], void *buffers[TEE_PARAMS_NUM])
{
    bool whole = true;

    for (unsigned i = 0; i < TEE_PARAMS_NUM; i++) {
        buffers[i] = NULL;
        inside[i] = outside[i];
        if (!is_memref(types, i) || outside[i].memref.buffer == NULL)
            continue;
        buffers[i] = calloc(1, outside[i].memref.size ? outside[i].memref.size : 1);
        whole = whole && buffers[i] != NULL;
        inside[i].memref.buffer = buffers[i];
        if (buffers[i] != NULL && TEE_PARAM_TYPE_GET(types, i) != TEE_PARAM_TYPE_MEMREF_OUTPUT)
            memcpy(buffers[i], outside[i].memref.buffer, outside[i].memref.size);
    }
    return whole;
}

static void give_memref(uint32_t type, TEE_Param *outside, const TEE_Param *inside, bool filled)
{
    size_t room = outside->memref.size;

    if (type == TEE_PARAM_TYPE_MEMREF_INPUT)
        return;
    if (filled && outside->memref.buffer != NULL)
        memcpy(outside->memref.buffer, inside->memref.buffer,
               inside->memref.size < room ? inside->memref.size : room);
    outside->memref.size = inside->memref.size;
}

/* Of a failed command only the sizes come back: that of a short buffer is wanted. */
static void give_out(uint32_t types, TEE_Param outside[TEE_PARAMS_NUM],
                     const TEE_Param inside[TEE_PARAMS_NUM], TEE_Result result)
{
    for (unsigned i = 0; i < TEE_PARAMS_NUM; i++) {
        uint32_t type = TEE_PARAM_TYPE_GET(types, i);

        if (is_memref(types, i))
            give_memref(type, &outside[i], &inside[i], result == TEE_SUCCESS);
        else if (type == TEE_PARAM_TYPE_VALUE_OUTPUT || type == TEE_PARAM_TYPE_VALUE_INOUT)
            outside[i].value = inside[i].value;
    }
}

TEE_Result gp_host_open(const char *path, const char *user, uint32_t types,
                        TEE_Param params[TEE_PARAMS_NUM], void **session, bool *from_ta)
{
    TEE_Result result;

    pthread_mutex_lock(&instance);
    *from_ta = false;
    result = create();
    if (result == TEE_SUCCESS && !allowed(path, user))
        result = TEE_ERROR_CA_CALLER_ACCESS_DENIED;
    if (result == TEE_SUCCESS) {
        *from_ta = true;
        result = TA_OpenSessionEntryPoint(types, params, session);
    }
    pthread_mutex_unlock(&instance);
    return result;
}

TEE_Result gp_host_invoke(void *session, uint32_t command, uint32_t types,
                          TEE_Param params[TEE_PARAMS_NUM], const struct gp_host_memory *memory)
{
    TEE_Param inside[TEE_PARAMS_NUM];
    void *buffers[TEE_PARAMS_NUM];
    TEE_Result result = TEE_ERROR_OUT_OF_MEMORY;

    pthread_mutex_lock(&instance);
    memory_now = *memory;
    if (take_in(types, params, inside, buffers)) {
        result = TA_InvokeCommandEntryPoint(session, command, types, inside);
        give_out(types, params, inside, result);
    }
    free_memrefs(types, inside, buffers);
    pthread_mutex_unlock(&instance);
    return result;
}

void gp_host_close(void *session)
{
    pthread_mutex_lock(&instance);
    TA_CloseSessionEntryPoint(session);
    pthread_mutex_unlock(&instance);
}
