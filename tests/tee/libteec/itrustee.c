/* iTrustee's library: IDENTIFY login, a started operation, a session linked into its context. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../../ta/reply.h"
#include "vendor.h"

#define EXPORT __attribute__((visibility("default")))

const char *const vendor_name = "itrustee";
const bool vendor_has_callers = true;

const char *vendor_refuses_process(void)
{
    return getenv("LD_PRELOAD") != NULL ? "LD_PRELOAD is set" : NULL;
}

static void list_init(struct ListNode *list)
{
    list->next = list;
    list->prev = list;
}

void vendor_fill_context(TEEC_Context *context, int fd)
{
    context->fd = fd;
    context->ta_path = NULL;
    list_init(&context->session_list);
    list_init(&context->shrd_mem_list);
}

void vendor_empty_context(TEEC_Context *context)
{
    context->fd = -1;
}

int vendor_context_fd(const TEEC_Context *context)
{
    return context->fd;
}

static const char *path_of(const TEEC_Context *context)
{
    return (const char *)context->ta_path;
}

const char *vendor_describes_context(const TEEC_Context *context)
{
    return path_of(context) != NULL ? path_of(context) : "";
}

const char *vendor_checks_open(const TEEC_Context *context, uint32_t method, const void *data,
                               const TEEC_Operation *operation)
{
    (void)context;
    if (method != TEEC_LOGIN_IDENTIFY)
        return "the login isn't TEEC_LOGIN_IDENTIFY (7)";
    if (data != NULL)
        return "the connection data isn't NULL";
    /* A session's operation may be left out, and one with started = 0 has a result of its own. */
    return operation != NULL && operation->started != 0 ? vendor_checks_operation(operation) : NULL;
}

/* The vendor's own kinds of memory, beside GlobalPlatform's. */
enum { TYPE_ION = 8, FIRST_SHARED_TYPE = 12 };

static const char *checks_param(const TEEC_Parameter *param, uint32_t type)
{
    if (type == 4 || (type > TYPE_ION && type < FIRST_SHARED_TYPE))
        return "a parameter's type is none that this library serves";
    if (type < TEEC_MEMREF_TEMP_INPUT || type > TEEC_MEMREF_TEMP_INOUT)
        return NULL;
    if ((param->tmpref.buffer == NULL) != (param->tmpref.size == 0))
        return "half a memory reference is empty, or the operation is laid out another way";
    return NULL;
}

const char *vendor_checks_operation(const TEEC_Operation *operation)
{
    if (operation->cancel_flag)
        return "cancel_flag is set, or the operation is laid out another way";
    for (unsigned i = 0; i < TEEC_PARAM_NUM; i++) {
        uint32_t type = TEEC_PARAM_TYPE_GET(operation->paramTypes, i);
        const char *why = checks_param(&operation->params[i], type);

        if (why != NULL)
            return why;
    }
    return NULL;
}

TEEC_Result vendor_judges_operation(const TEEC_Operation *operation)
{
    return operation != NULL && operation->started == 0 ? TEEC_ERROR_NOT_IMPLEMENTED
                                                         : TEEC_SUCCESS;
}

/* The last two parameters carry the caller's identity: what a client put there is lost. */
void vendor_overwrites_open(TEEC_Operation *operation)
{
    operation->paramTypes &= 0xFFU;
}

void vendor_link(TEEC_Context *context, TEEC_Session *session, const TEEC_UUID *uuid, uint32_t id)
{
    struct ListNode *last = context->session_list.prev;

    session->session_id = id;
    session->service_id = *uuid;
    session->ops_cnt = 2;
    session->context = context;
    session->list.prev = last;
    session->list.next = &context->session_list;
    last->next = &session->list;
    context->session_list.prev = &session->list;
}

void vendor_unlink(TEEC_Session *session)
{
    session->list.prev->next = session->list.next;
    session->list.next->prev = session->list.prev;
    session->session_id = 0;
    session->context = NULL;
    memset(&session->service_id, 0, sizeof(session->service_id));
}

const char *vendor_checks_session(const TEEC_Session *session, const TEEC_Context *context)
{
    if (session->context != context || session->session_id == 0)
        return "the session was written to while it was open";
    if (session->list.prev->next != &session->list || session->list.next->prev != &session->list)
        return "the session isn't where it was linked into its context";
    return NULL;
}

enum service vendor_finds(const struct control *control, const char *uuid)
{
    return strcmp(uuid, control->uuid) == 0 ? SERVICE_MEMORY_TA : SERVICE_NONE;
}

TEEC_Result vendor_invokes(const struct control *control, enum service service, uint32_t command,
                           uint32_t types, TEE_Param params[TEE_PARAMS_NUM])
{
    (void)control;
    (void)service;
    (void)command;
    (void)types;
    (void)params;
    return TEEC_ERROR_ITEM_NOT_FOUND;
}

TEEC_Result vendor_overrides(const struct control *control, enum service service,
                             TEEC_Operation *operation)
{
    struct ta_memory memory;

    (void)service;
    /* The driver finds no room for what is longer than the client's buffer. */
    if (control->reply_size.set && control->reply_size.value > operation->params[0].tmpref.size)
        return vendor_result_of_errno(CALL_INVOKE, EFAULT);
    memcpy(&memory, operation->params[0].tmpref.buffer, sizeof(memory));
    if (control->reply_total.set)
        memory.total = control->reply_total.value;
    if (control->reply_free.set)
        memory.free = control->reply_free.value;
    memcpy(operation->params[0].tmpref.buffer, &memory, sizeof(memory));
    if (control->reply_size.set)
        operation->params[0].tmpref.size = (uint32_t)control->reply_size.value;
    if (control->reply_unit.set)
        operation->params[3].value.a = (uint32_t)control->reply_unit.value;
    return TEEC_SUCCESS;
}

/* By these two names clients tell this library from OP-TEE's. */
EXPORT TEEC_Result TEEC_EXT_RegisterAgent(uint32_t agent, int *fd, void **buffer);
EXPORT TEEC_Result TEEC_SendSecfile(const char *path, TEEC_Session *session);

EXPORT TEEC_Result TEEC_EXT_RegisterAgent(uint32_t agent, int *fd, void **buffer)
{
    (void)agent;
    (void)fd;
    (void)buffer;
    return TEEC_ERROR_NOT_SUPPORTED;
}

EXPORT TEEC_Result TEEC_SendSecfile(const char *path, TEEC_Session *session)
{
    (void)path;
    (void)session;
    return TEEC_ERROR_NOT_SUPPORTED;
}
