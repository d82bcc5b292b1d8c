/* Stands in for the SDK's C library, of which our trusted application uses no more. */
#ifndef FAKE_STDINT_H
#define FAKE_STDINT_H

typedef __UINT8_TYPE__ uint8_t;
typedef __UINT16_TYPE__ uint16_t;
typedef __INT32_TYPE__ int32_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __UINT64_TYPE__ uint64_t;

#define UINT64_MAX __UINT64_MAX__

#endif
