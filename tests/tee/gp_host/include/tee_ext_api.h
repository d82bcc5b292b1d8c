/* iTrustee's extension by which a trusted application names the clients it serves. */
#ifndef GP_HOST_TEE_EXT_API_H
#define GP_HOST_TEE_EXT_API_H

#include "tee_defines.h"

TEE_Result addcaller_ca_exec(const char *ca_name, const char *user_name);

#endif
