/* iTrustee's libteec, loaded when it is first needed. */
#ifndef LIBTEEC_H
#define LIBTEEC_H

#include <tee_client_api.h>

struct libteec {
    __typeof__(&TEEC_InitializeContext) initialize_context;
    __typeof__(&TEEC_FinalizeContext) finalize_context;
    __typeof__(&TEEC_OpenSession) open_session;
    __typeof__(&TEEC_CloseSession) close_session;
    __typeof__(&TEEC_InvokeCommand) invoke_command;
};

/* NULL where it can't be had now; a later call tries again. */
const struct libteec *load_libteec(void);

#endif
