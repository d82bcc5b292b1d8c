/*
 * Prints the sizes, offsets and constants of a vendor's client API, as the compiler sees them:
 * a test compares each line with the ctypes layouts of the plugin.  LAYOUT_OPTEE selects what only
 * OP-TEE has; everything else stands in both headers.
 */
#include <stddef.h>
#include <stdio.h>
#include <tee_client_api.h>

#ifdef LAYOUT_OPTEE
#include "include_optee/statistics.h"
typedef struct statistics_56 statistics_56;
typedef struct statistics_64 statistics_64;
#else
#include "../../ta/reply.h"
typedef struct ListNode ListNode;
typedef struct ta_memory ta_memory;
#endif

#define SIZE(type)           printf("sizeof %s %zu\n", #type, sizeof(type))
#define OFFSET(type, member) printf("offsetof %s.%s %zu\n", #type, #member, offsetof(type, member))
#define CONST(name)          printf("const %s %llu\n", #name, (unsigned long long)(name))

static void print_common_structs(void)
{
    SIZE(TEEC_Result);
    SIZE(TEEC_UUID);
    OFFSET(TEEC_UUID, timeLow);
    OFFSET(TEEC_UUID, timeMid);
    OFFSET(TEEC_UUID, timeHiAndVersion);
    OFFSET(TEEC_UUID, clockSeqAndNode);
    SIZE(TEEC_TempMemoryReference);
    OFFSET(TEEC_TempMemoryReference, buffer);
    OFFSET(TEEC_TempMemoryReference, size);
    SIZE(TEEC_RegisteredMemoryReference);
    OFFSET(TEEC_RegisteredMemoryReference, parent);
    OFFSET(TEEC_RegisteredMemoryReference, size);
    OFFSET(TEEC_RegisteredMemoryReference, offset);
    SIZE(TEEC_Value);
    OFFSET(TEEC_Value, a);
    OFFSET(TEEC_Value, b);
    SIZE(TEEC_Parameter);
    OFFSET(TEEC_Parameter, tmpref);
    OFFSET(TEEC_Parameter, memref);
    OFFSET(TEEC_Parameter, value);
    SIZE(TEEC_Operation);
    OFFSET(TEEC_Operation, started);
    OFFSET(TEEC_Operation, paramTypes);
    OFFSET(TEEC_Operation, params);
    OFFSET(TEEC_Operation, session);
    SIZE(TEEC_Context);
    OFFSET(TEEC_Context, fd);
    SIZE(TEEC_Session);
    OFFSET(TEEC_Session, session_id);
}

static void print_common_constants(void)
{
    CONST(TEEC_PARAM_NUM);
    CONST(TEEC_NONE);
    CONST(TEEC_VALUE_INPUT);
    CONST(TEEC_VALUE_OUTPUT);
    CONST(TEEC_MEMREF_TEMP_OUTPUT);
    CONST(TEEC_ORIGIN_API);
    CONST(TEEC_ORIGIN_COMMS);
    CONST(TEEC_ORIGIN_TEE);
    CONST(TEEC_ORIGIN_TRUSTED_APP);
    CONST(TEEC_LOGIN_PUBLIC);
    CONST(TEEC_SUCCESS);
    CONST(TEEC_ERROR_GENERIC);
    CONST(TEEC_ERROR_ACCESS_DENIED);
    CONST(TEEC_ERROR_CANCEL);
    CONST(TEEC_ERROR_ACCESS_CONFLICT);
    CONST(TEEC_ERROR_EXCESS_DATA);
    CONST(TEEC_ERROR_BAD_FORMAT);
    CONST(TEEC_ERROR_BAD_PARAMETERS);
    CONST(TEEC_ERROR_BAD_STATE);
    CONST(TEEC_ERROR_ITEM_NOT_FOUND);
    CONST(TEEC_ERROR_NOT_IMPLEMENTED);
    CONST(TEEC_ERROR_NOT_SUPPORTED);
    CONST(TEEC_ERROR_NO_DATA);
    CONST(TEEC_ERROR_OUT_OF_MEMORY);
    CONST(TEEC_ERROR_BUSY);
    CONST(TEEC_ERROR_COMMUNICATION);
    CONST(TEEC_ERROR_SECURITY);
    CONST(TEEC_ERROR_SHORT_BUFFER);
    CONST(TEEC_ERROR_TARGET_DEAD);
}

#ifdef LAYOUT_OPTEE
static void print_own(void)
{
    OFFSET(TEEC_Context, reg_mem);
    OFFSET(TEEC_Context, memref_null);
    OFFSET(TEEC_Session, ctx);
    SIZE(statistics_56);
    OFFSET(statistics_56, allocated);
    OFFSET(statistics_56, max_allocated);
    OFFSET(statistics_56, size);
    SIZE(statistics_64);
    OFFSET(statistics_64, free2_sum);
    OFFSET(statistics_64, allocated);
    OFFSET(statistics_64, max_allocated);
    OFFSET(statistics_64, size);
}
#else
static void print_own(void)
{
    OFFSET(TEEC_Context, ta_path);
    OFFSET(TEEC_Context, session_list);
    OFFSET(TEEC_Context, shrd_mem_list);
    OFFSET(TEEC_Context, share_buffer);
    OFFSET(TEEC_Context, share_buffer.buffer);
    OFFSET(TEEC_Context, share_buffer.buffer_barrier);
    OFFSET(TEEC_Session, service_id);
    OFFSET(TEEC_Session, ops_cnt);
    OFFSET(TEEC_Session, list);
    OFFSET(TEEC_Session, context);
    OFFSET(TEEC_Operation, cancel_flag);
    SIZE(ListNode);
    OFFSET(ListNode, next);
    OFFSET(ListNode, prev);
    SIZE(ta_memory);
    OFFSET(ta_memory, total);
    OFFSET(ta_memory, free);
    CONST(TEEC_LOGIN_IDENTIFY);
    CONST(TEEC_ERROR_SERVICE_NOT_EXIST);
    CONST(TEEC_ERROR_SESSION_MAXIMUM);
    CONST(TEEC_ERROR_TRUSTED_APP_LOAD_ERROR);
    CONST(TEEC_ERROR_SIGNATURE_INVALID);
    CONST(TEEC_ERROR_GTASK_DEAD);
    CONST(TEEC_FAIL);
    CONST(TEEC_ERROR_IPC_OVERFLOW);
    CONST(TEEC_ERROR_CA_AUTH_FILE);
    CONST(TEEC_ERROR_CA_CALLER_ACCESS_DENIED);
    CONST(TEEC_ERROR_TEE_REBOOTING);
    CONST(TEEC_ERROR_CA_AUTH_FAIL);
}
#endif

int main(void)
{
    print_common_structs();
    print_own();
    print_common_constants();
    return 0;
}
