/*
 * tee-limit: has iTrustee limit a container's memory, and cleans up after it.
 *
 * A hook of the container runtime (OCI runtime specification) and a host service; see main() for
 * the commands. All functions that can fail return 0 or -1, and have written one line to standard
 * error then.
 */
#ifndef TEE_LIMIT_H
#define TEE_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The vendor's tool. The TEE asks for this very path. */
#ifndef TEE_LIMIT_TOOL
#define TEE_LIMIT_TOOL "/usr/bin/tee_teleport"
#endif

/* Root's alone, on a file system that a reboot empties, as it empties the TEE. */
#ifndef TEE_LIMIT_DIRECTORY
#define TEE_LIMIT_DIRECTORY "/run/tee-limit"
#endif

/* teecd makes it anew when it starts; a restart of the TEE ends teecd. */
#ifndef TEE_LIMIT_TEECD
#define TEE_LIMIT_TEECD "/var/itrustee/teecd/teecd.sock"
#endif

/* One call of the tool; and all that a hook does, after which the alarm ends it. */
#ifndef TEE_LIMIT_CALL_MS
#define TEE_LIMIT_CALL_MS 5000
#endif
#ifndef TEE_LIMIT_HOOK_MS
#define TEE_LIMIT_HOOK_MS 13000
#endif

enum {
	MOST_CONTAINERS = 63, /* groups that the TEE OS has */
	LONGEST_ID = 128,
	LONGEST_OUTPUT = 4096,
	LONGEST_STATE = 1 << 20,
};

/* Groups of a record that has none: lost with the TEE, or made by a call that never answered. */
enum { GROUP_UNSET = -1, GROUP_UNKNOWN = -2 };

/* What the runtime writes to a hook's standard input, as far as it is used; `pid` is 0 where the
 * state has none, as in poststop. */
struct state {
	char id[LONGEST_ID + 1];
	long pid;
};

/* A container's first process: what tells it from a later one with the same number. */
struct container {
	long pid;
	unsigned long long started; /* clock ticks since the boot */
	unsigned long long namespace; /* inode of its pid namespace */
};

/* When teecd's socket was made; another one means that the TEE may have lost all groups. */
struct incarnation {
	unsigned long long inode, seconds, nanoseconds;
};

struct record {
	struct container container;
	unsigned long long kib;
	long group; /* or one of GROUP_… */
	bool secure_storage;
	struct incarnation tee;
};

/* The command's options. */
struct options {
	unsigned long long kib;
	bool secure_storage;
};

/* Messages: one line each, without control characters. */
void name_container(const char *id);
int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *last_complaint(void);

/* The time until which a hook may run; without a limit for the host service. */
void begin_deadline(long milliseconds);
long milliseconds_left(void);

/* tee_limit_state.c */
int parse_state(const char *text, size_t length, struct state *state);
int read_state(int descriptor, struct state *state);
bool id_is_plain(const char *id);

/* tee_limit_container.c */
int look_at_container(long pid, struct container *container);
bool container_lives(const struct container *container);
bool tee_incarnation(struct incarnation *incarnation);
bool same_incarnation(const struct incarnation *one, const struct incarnation *other);

/* tee_limit_tool.c */
int set_limit(const struct record *record, long *group);
int set_secure_storage(const struct record *record, const char *id);
int clean_group(long group, const char *id_with_storage, bool is_expected);
int parse_group(const char *output, bool *memory_parsed, long *group);

/* tee_limit_records.c */
int open_records(void);
int lock_records(void);
void unlock_records(void);
int write_record(const char *id, const struct record *record);
int read_record(const char *id, struct record *record); /* 1: there is none */
int remove_record(const char *id);
int each_record(int (*visit)(const char *id, struct record *record, void *context), void *context);
int write_summary(void);
int write_reconciled(const char *problem);

/* tee_limit_reconcile.c */
int reconcile(void);

/* tee_limit_hook.c */
int hook_set(const struct state *state, const struct options *options);
int hook_clean(const struct state *state);
int apply(const char *id, struct record *record);
int give_back(const char *id, const struct record *record);
bool stays_unknown(const struct record *record);

#endif
