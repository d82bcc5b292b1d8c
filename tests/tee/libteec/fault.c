#include "fault.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "vendor.h"

/* As the driver does: nothing but SIGKILL ends the wait. */
static void hang(void)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    for (;;)
        pause();
}

static void crash(void)
{
    /* Hidden from the compiler, which would rather not write there. */
    volatile int *volatile nowhere = NULL;

    *nowhere = 1;
}

static void sleep_milliseconds(uint32_t milliseconds)
{
    struct timespec left = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000L};

    while (nanosleep(&left, &left) != 0)
        continue;
}

bool suffer(const struct control *control, enum call call, uint32_t *result, uint32_t *origin)
{
    const struct fault *fault = &control->faults[call];

    switch (fault->kind) {
    case FAULT_HANG:
        hang();
        break;
    case FAULT_CRASH:
        crash();
        break;
    case FAULT_SLOW:
        sleep_milliseconds(fault->value);
        break;
    case FAULT_EXIT:
        exit((int)fault->value);
    case FAULT_RESULT:
        *result = fault->value;
        *origin = fault->origin;
        return true;
    case FAULT_ERRNO:
        *result = vendor_result_of_errno(call, (int)fault->value);
        *origin = TEEC_ORIGIN_COMMS;
        return true;
    case FAULT_NONE:
        break;
    }
    return false;
}
