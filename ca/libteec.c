/*
 * libteec is opened at run time, not linked.  This library then builds on a machine without it,
 * loads on a node without it (and answers -1 instead of keeping its program from starting), and
 * can look at what it got before it calls it: OP-TEE's libteec has the same names, and its other
 * layout would answer with wrong figures.
 */
#define _GNU_SOURCE
#include "libteec.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;
static struct libteec loaded;
static bool is_loaded;

/* ISO C has no cast from an object pointer to a function's; POSIX says that the bytes are it. */
static bool find(void *library, const char *name, void *function)
{
    void *symbol = dlsym(library, name);

    memcpy(function, &symbol, sizeof(symbol));
    return symbol != NULL;
}

static bool is_itrustee(void *library)
{
    return dlsym(library, "TEEC_RegisterSharedMemoryFileDescriptor") == NULL &&
           (dlsym(library, "TEEC_EXT_RegisterAgent") != NULL ||
            dlsym(library, "TEEC_SendSecfile") != NULL);
}

static bool find_all(void *library, struct libteec *libteec)
{
    return find(library, "TEEC_InitializeContext", &libteec->initialize_context) &&
           find(library, "TEEC_FinalizeContext", &libteec->finalize_context) &&
           find(library, "TEEC_OpenSession", &libteec->open_session) &&
           find(library, "TEEC_CloseSession", &libteec->close_session) &&
           find(library, "TEEC_InvokeCommand", &libteec->invoke_command);
}

static bool open_and_find(struct libteec *libteec)
{
    void *library;

    /* iTrustee's libteec ends a process that has it set while it is being loaded. */
    if (getenv("LD_PRELOAD") != NULL)
        return false;
    library = dlopen(TEEMEMCA_LIBTEEC, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return false;
    if (is_itrustee(library) && find_all(library, libteec))
        return true;
    dlclose(library);
    return false;
}

const struct libteec *load_libteec(void)
{
    const struct libteec *libteec;

    pthread_mutex_lock(&loading);
    if (!is_loaded)
        is_loaded = open_and_find(&loaded);
    libteec = is_loaded ? &loaded : NULL;
    pthread_mutex_unlock(&loading);
    return libteec;
}
