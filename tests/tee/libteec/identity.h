/* Who the calling process is, found the way iTrustee's daemon finds it. */
#ifndef IDENTITY_H
#define IDENTITY_H

#include <stdbool.h>

struct identity {
    char path[256]; /* argv[0], as /proc has it */
    char user[256]; /* the name of the uid, from /etc/passwd itself */
};

/* False where argv[0] or the passwd entry is missing; what was found is filled in all the same. */
bool identify(struct identity *identity);

#endif
