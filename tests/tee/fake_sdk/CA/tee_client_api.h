/*
 * A client header written the vendor SDK's other way: results and types as enums, lists in
 * anonymous unions.  It shows that libteememca needs no more of a header than both have.
 */
#ifndef FAKE_TEE_CLIENT_API_H
#define FAKE_TEE_CLIENT_API_H

#include <semaphore.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum { TEEC_SUCCESS = 0x0, TEEC_ERROR_GENERIC = 0xFFFF0000 } TEEC_Result;

enum {
    TEEC_NONE = 0x0,
    TEEC_VALUE_OUTPUT = 0x2,
    TEEC_MEMREF_TEMP_OUTPUT = 0x6,
    TEEC_LOGIN_IDENTIFY = 0x7,
};

#define TEEC_PARAM_TYPES(p0, p1, p2, p3) ((p3) << 12 | (p2) << 8 | (p1) << 4 | (p0))

struct node {
    struct node *next;
    struct node *prev;
};

typedef struct {
    uint32_t timeLow;
    uint16_t timeMid;
    uint16_t timeHiAndVersion;
    uint8_t clockSeqAndNode[8];
} TEEC_UUID;

typedef struct {
    int32_t fd;
    uint8_t *ta_path;
    struct node sessions;
    struct node memories;
    union {
        struct {
            void *buffer;
            sem_t barrier;
        } shared;
        uint64_t imp;
    };
} TEEC_Context;

typedef struct {
    uint32_t session_id;
    TEEC_UUID service_id;
    uint32_t ops_cnt;
    union {
        struct node head;
        uint64_t imp;
    };
    TEEC_Context *context;
} TEEC_Session;

typedef union {
    struct {
        void *buffer;
        uint32_t size;
    } tmpref;
    struct {
        uint32_t a;
        uint32_t b;
    } value;
} TEEC_Parameter;

typedef struct {
    uint32_t started;
    uint32_t paramTypes;
    TEEC_Parameter params[4];
    TEEC_Session *session;
    bool cancel_flag;
} TEEC_Operation;

TEEC_Result TEEC_InitializeContext(const char *name, TEEC_Context *context);
void TEEC_FinalizeContext(TEEC_Context *context);
TEEC_Result TEEC_OpenSession(TEEC_Context *context, TEEC_Session *session,
                             const TEEC_UUID *destination, uint32_t connectionMethod,
                             const void *connectionData, TEEC_Operation *operation,
                             uint32_t *returnOrigin);
void TEEC_CloseSession(TEEC_Session *session);
TEEC_Result TEEC_InvokeCommand(TEEC_Session *session, uint32_t commandID,
                               TEEC_Operation *operation, uint32_t *returnOrigin);

#endif
