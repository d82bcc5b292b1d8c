/*
 * A thin TEE on the host: it loads the one trusted application linked to it, keeps its allowlist
 * of callers and hands it parameters in memory of its own, as a TEE does.
 */
#ifndef GP_HOST_H
#define GP_HOST_H

#include "tee_defines.h"

/* What sysinfo() finds in the TEE. */
struct gp_host_memory {
    unsigned long totalram;
    unsigned long freeram;
    unsigned mem_unit;
    int result;
};

/* A TEE that serves everybody has no use for names: OP-TEE. */
#define GP_HOST_ANYBODY NULL

TEE_Result gp_host_open(const char *path, const char *user, uint32_t types,
                        TEE_Param params[TEE_PARAMS_NUM], void **session, bool *from_ta);
TEE_Result gp_host_invoke(void *session, uint32_t command, uint32_t types,
                          TEE_Param params[TEE_PARAMS_NUM], const struct gp_host_memory *memory);
void gp_host_close(void *session);

#endif
