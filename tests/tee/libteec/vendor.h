/*
 * What differs between the two vendors' libraries.  api.c is compiled once with each vendor's
 * header and linked with that vendor's implementation of these.
 */
#ifndef VENDOR_H
#define VENDOR_H

#include <stdbool.h>
#include <tee_client_api.h>

#include "control.h"
#include "gp_host.h"

/* The trusted application that a session talks to. */
enum service { SERVICE_NONE, SERVICE_MEMORY_TA, SERVICE_STATISTICS };

struct opened {
    enum service service;
    void *ta_session;
};

extern const char *const vendor_name;
/* Whether callers are known by argv[0] and user, as iTrustee's allowlist has them. */
extern const bool vendor_has_callers;

/* Why the library can't be loaded into this process, or NULL. */
const char *vendor_refuses_process(void);

void vendor_fill_context(TEEC_Context *context, int fd);
void vendor_empty_context(TEEC_Context *context);
int vendor_context_fd(const TEEC_Context *context);

/* Each of these returns what is wrong, in words for the test's author, or NULL. */
const char *vendor_checks_open(const TEEC_Context *context, uint32_t method, const void *data,
                               const TEEC_Operation *operation);
const char *vendor_checks_operation(const TEEC_Operation *operation);
const char *vendor_checks_session(const TEEC_Session *session, const TEEC_Context *context);

/* The way to the daemon that logs clients in, before anything else; SUCCESS where there is none. */
TEEC_Result vendor_connects(const struct control *control);

/* What the library makes of an errno that the driver gave it; its origin is COMMS. */
TEEC_Result vendor_result_of_errno(enum call call, int error);

/* What the library does again and again before it gives such a result of an open. */
void vendor_retries_open(const TEEC_Context *context, TEEC_Result result);

/* Results that the library itself gives, whether strict or not. */
TEEC_Result vendor_judges_operation(const TEEC_Operation *operation);
TEEC_Result vendor_judges_ta_file(const struct control *control, const TEEC_Context *context,
                                  const char *uuid, uint32_t *origin);
void vendor_overwrites_open(TEEC_Operation *operation);

void vendor_link(TEEC_Context *context, TEEC_Session *session, const TEEC_UUID *uuid, uint32_t id);
void vendor_unlink(TEEC_Session *session);

enum service vendor_finds(const struct control *control, const char *uuid);
TEEC_Result vendor_invokes(const struct control *control, enum service service, uint32_t command,
                           uint32_t types, TEE_Param params[TEE_PARAMS_NUM]);
/* Write the test's own figures over a successful answer; another result than SUCCESS is COMMS'. */
TEEC_Result vendor_overrides(const struct control *control, enum service service,
                             TEEC_Operation *operation);

const char *vendor_describes_context(const TEEC_Context *context);

#endif
