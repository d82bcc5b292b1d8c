/*
 * libteememca: how much memory the TEE has, for native programs on a node with iTrustee.
 *
 * Both calls ask the TEE anew and return kilobytes of 1,024 bytes, or -1 for any failure: no
 * libteec, no daemon, a caller that the trusted application doesn't know, an answer that can't be
 * true.  They may be called from several threads.
 *
 * The TEE may take its time, and one that is stuck never answers; nothing can cancel the call.
 * All signals of the calling thread wait until it has ended.  A program that must go on asks from
 * a process that it can kill.
 *
 * The environment overrides what the library was built with, but not in set-uid programs:
 *   TEEMEMCA_UUID        the trusted application
 *   TEEMEMCA_TA_PATH     its file, ending in .sec
 *   TEEMEMCA_RESERVE_KB  what the TEE's own system is taken to use
 */
#ifndef TEEMEMCA_H
#define TEEMEMCA_H

#ifdef __cplusplus
extern "C" {
#endif

/* What is free; it already excludes what the TEE's own system uses. */
long long GetTeeFreeMem(void);

/* What applications may have in all: the total less the reserve, and never below 0. */
long long GetTeeCapacityMem(void);

#ifdef __cplusplus
}
#endif

#endif
