/*
 * GlobalPlatform TEE Client API, laid out as OP-TEE's libteec has it on 64-bit machines.
 *
 * Only tests need it: the test library's OP-TEE build and the layout program that abi.py is
 * compared with.
 */
#ifndef TEE_CLIENT_API_H
#define TEE_CLIENT_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEEC_PARAM_NUM 4

#define TEEC_PARAM_TYPES(p0, p1, p2, p3) \
    ((uint32_t)(p0) | (uint32_t)(p1) << 4 | (uint32_t)(p2) << 8 | (uint32_t)(p3) << 12)
#define TEEC_PARAM_TYPE_GET(types, index) (((uint32_t)(types) >> (4U * (uint32_t)(index))) & 0xFU)

#define TEEC_NONE               0x0U
#define TEEC_VALUE_INPUT        0x1U
#define TEEC_VALUE_OUTPUT       0x2U
#define TEEC_VALUE_INOUT        0x3U
#define TEEC_MEMREF_TEMP_INPUT  0x5U
#define TEEC_MEMREF_TEMP_OUTPUT 0x6U
#define TEEC_MEMREF_TEMP_INOUT  0x7U

#define TEEC_ORIGIN_API         0x1U
#define TEEC_ORIGIN_COMMS       0x2U
#define TEEC_ORIGIN_TEE         0x3U
#define TEEC_ORIGIN_TRUSTED_APP 0x4U

#define TEEC_LOGIN_PUBLIC 0x0U

#define TEEC_SUCCESS               0x00000000U
#define TEEC_ERROR_GENERIC         0xFFFF0000U
#define TEEC_ERROR_ACCESS_DENIED   0xFFFF0001U
#define TEEC_ERROR_CANCEL          0xFFFF0002U
#define TEEC_ERROR_ACCESS_CONFLICT 0xFFFF0003U
#define TEEC_ERROR_EXCESS_DATA     0xFFFF0004U
#define TEEC_ERROR_BAD_FORMAT      0xFFFF0005U
#define TEEC_ERROR_BAD_PARAMETERS  0xFFFF0006U
#define TEEC_ERROR_BAD_STATE       0xFFFF0007U
#define TEEC_ERROR_ITEM_NOT_FOUND  0xFFFF0008U
#define TEEC_ERROR_NOT_IMPLEMENTED 0xFFFF0009U
#define TEEC_ERROR_NOT_SUPPORTED   0xFFFF000AU
#define TEEC_ERROR_NO_DATA         0xFFFF000BU
#define TEEC_ERROR_OUT_OF_MEMORY   0xFFFF000CU
#define TEEC_ERROR_BUSY            0xFFFF000DU
#define TEEC_ERROR_COMMUNICATION   0xFFFF000EU
#define TEEC_ERROR_SECURITY        0xFFFF000FU
#define TEEC_ERROR_SHORT_BUFFER    0xFFFF0010U
#define TEEC_ERROR_TARGET_DEAD     0xFFFF3024U

typedef uint32_t TEEC_Result;

typedef struct {
    uint32_t timeLow;
    uint16_t timeMid;
    uint16_t timeHiAndVersion;
    uint8_t clockSeqAndNode[8];
} TEEC_UUID;

typedef struct {
    int fd;
    bool reg_mem;
    bool memref_null;
} TEEC_Context;

typedef struct {
    TEEC_Context *ctx;
    uint32_t session_id;
} TEEC_Session;

typedef struct TEEC_SharedMemory TEEC_SharedMemory; /* no client of ours touches its inside */

typedef struct {
    void *buffer;
    size_t size;
} TEEC_TempMemoryReference;

typedef struct {
    TEEC_SharedMemory *parent;
    size_t size;
    size_t offset;
} TEEC_RegisteredMemoryReference;

typedef struct {
    uint32_t a;
    uint32_t b;
} TEEC_Value;

typedef union {
    TEEC_TempMemoryReference tmpref;
    TEEC_RegisteredMemoryReference memref;
    TEEC_Value value;
} TEEC_Parameter;

typedef struct {
    uint32_t started;
    uint32_t paramTypes;
    TEEC_Parameter params[TEEC_PARAM_NUM];
    TEEC_Session *session;
} TEEC_Operation;

_Static_assert(sizeof(TEEC_Context) == 8, "TEEC_Context");
_Static_assert(sizeof(TEEC_Session) == 16, "TEEC_Session");
_Static_assert(sizeof(TEEC_Parameter) == 24, "TEEC_Parameter");
_Static_assert(sizeof(TEEC_Operation) == 112 && offsetof(TEEC_Operation, session) == 104,
               "TEEC_Operation");

TEEC_Result TEEC_InitializeContext(const char *name, TEEC_Context *context);
void TEEC_FinalizeContext(TEEC_Context *context);
TEEC_Result TEEC_OpenSession(TEEC_Context *context, TEEC_Session *session,
                             const TEEC_UUID *destination, uint32_t connectionMethod,
                             const void *connectionData, TEEC_Operation *operation,
                             uint32_t *returnOrigin);
void TEEC_CloseSession(TEEC_Session *session);
TEEC_Result TEEC_InvokeCommand(TEEC_Session *session, uint32_t commandID,
                               TEEC_Operation *operation, uint32_t *returnOrigin);
TEEC_Result TEEC_RegisterSharedMemory(TEEC_Context *context, TEEC_SharedMemory *sharedMem);
TEEC_Result TEEC_AllocateSharedMemory(TEEC_Context *context, TEEC_SharedMemory *sharedMem);
void TEEC_ReleaseSharedMemory(TEEC_SharedMemory *sharedMem);
void TEEC_RequestCancellation(TEEC_Operation *operation);

#endif
