/*
 * Who may talk to the trusted application: the one list of it.
 *
 * iTrustee knows a client by argv[0] of its process and by the name that /etc/passwd gives its
 * uid.  Both are compared as they are, so an entry must be the path the client is started with.
 * The Makefile may add entries of a site: CALLERS='X("/path", "user")'.
 */
#ifndef TA_CALLERS_H
#define TA_CALLERS_H

#ifndef TA_CALLERS_OF_SITE
#define TA_CALLERS_OF_SITE(X)
#endif

#define TA_CALLERS(X)                            \
    X("/vendor/bin/tee-device-plugin", "root")   \
    TA_CALLERS_OF_SITE(X)

#endif
