/* The little of the GlobalPlatform Internal Core API that our trusted application uses. */
#ifndef GP_HOST_TEE_DEFINES_H
#define GP_HOST_TEE_DEFINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEE_PARAMS_NUM 4

typedef uint32_t TEE_Result;

typedef union {
    struct {
        void *buffer;
        size_t size;
    } memref;
    struct {
        unsigned int a;
        unsigned int b;
    } value;
} TEE_Param;

#define TEE_PARAM_TYPES(p0, p1, p2, p3) (((p3) << 12) | ((p2) << 8) | ((p1) << 4) | (p0))
#define TEE_PARAM_TYPE_GET(types, index) (((types) >> (4U * (index))) & 0x0FU)

enum {
    TEE_PARAM_TYPE_NONE = 0x0,
    TEE_PARAM_TYPE_VALUE_INPUT = 0x1,
    TEE_PARAM_TYPE_VALUE_OUTPUT = 0x2,
    TEE_PARAM_TYPE_VALUE_INOUT = 0x3,
    TEE_PARAM_TYPE_MEMREF_INPUT = 0x5,
    TEE_PARAM_TYPE_MEMREF_OUTPUT = 0x6,
    TEE_PARAM_TYPE_MEMREF_INOUT = 0x7,
};

#define TEE_SUCCESS                0x00000000U
#define TEE_ERROR_GENERIC          0xFFFF0000U
#define TEE_ERROR_ACCESS_DENIED    0xFFFF0001U
#define TEE_ERROR_BAD_PARAMETERS   0xFFFF0006U
#define TEE_ERROR_BAD_STATE        0xFFFF0007U
#define TEE_ERROR_ITEM_NOT_FOUND   0xFFFF0008U
#define TEE_ERROR_NOT_SUPPORTED    0xFFFF000AU
#define TEE_ERROR_OUT_OF_MEMORY    0xFFFF000CU
#define TEE_ERROR_SHORT_BUFFER     0xFFFF0010U
#define TEE_ERROR_OVERFLOW         0xFFFF300FU
#define TEE_ERROR_CA_CALLER_ACCESS_DENIED 0xFFFF9117U

#endif
