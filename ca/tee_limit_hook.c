/*
 * The two hooks: a limit before the container's first instruction, and its group's end after it.
 */
#define _GNU_SOURCE
#include "tee_limit.h"

#include <string.h>

struct claim {
	const char *id;
	const struct record *record;
};

/* A group that the TEE has just given out can't be another container's any more: that one's was
 * lost in a restart of the TEE, and must not be cleaned up in its name. */
static int forfeit(const char *id, struct record *record, void *context)
{
	const struct claim *claim = context;

	if (record->group != claim->record->group || strcmp(id, claim->id) == 0)
		return 0;
	record->group = GROUP_UNSET;
	return write_record(id, record);
}

/* Sets the limit of a record's container, and keeps its group; the lock is held. */
int apply(const char *id, struct record *record)
{
	struct claim claim = { id, record };

	if (!tee_incarnation(&record->tee))
		return complain("teecd is not running (there is no " TEE_LIMIT_TEECD "), so its TEE "
				"memory can't be limited, and it is not started; fix: systemctl start "
				"teecd");
	/* Before the call: a hook that is killed meanwhile leaves a trace of its group. */
	record->group = GROUP_UNKNOWN;
	if (write_record(id, record) != 0)
		return -1;
	int result = set_limit(record, &record->group);
	if (result == 0)
		each_record(forfeit, &claim);
	if (write_record(id, record) == 0 && result == 0 &&
	    (!record->secure_storage || set_secure_storage(record, id) == 0))
		return 0;
	if (record->group >= 0 && clean_group(record->group, NULL, true) == 0) {
		record->group = GROUP_UNSET;
		write_record(id, record);
	}
	return -1;
}

/* Cleans a record's group up: 0 if it has none any more, -1 if that is not known, -2 if the TEE
 * refused, as it does where the group is gone.
 *
 * After a restart of the TEE the number may have been given to another of our containers; `forfeit`
 * has then taken it from this record. */
int give_back(const char *id, const struct record *record)
{
	struct incarnation tee;
	bool is_current = tee_incarnation(&tee) && same_incarnation(&tee, &record->tee);

	if (record->group < 0)
		return 0;
	return clean_group(record->group, record->secure_storage ? id : NULL, is_current);
}

/* A container with the same id, as Docker restarts them, whose poststop hook was never called. */
static int end_earlier(const char *id)
{
	struct record earlier;

	if (read_record(id, &earlier) == 0)
		give_back(id, &earlier);
	return remove_record(id);
}

/* The kernel gives a namespace's number out again as soon as it is free. A group of a container that
 * ended without its poststop hook would then be the new one's as well. */
static int end_predecessor(const char *id, struct record *record, void *context)
{
	const struct record *successor = context;

	if (record->container.namespace != successor->container.namespace ||
	    container_lives(&record->container) || stays_unknown(record))
		return 0;
	return give_back(id, record) == -1 ? -1 : remove_record(id);
}

static int set_locked(const struct state *state, struct record *record)
{
	if (end_earlier(state->id) != 0 || each_record(end_predecessor, record) != 0)
		return -1;
	int result = apply(state->id, record);
	/* What is still in the TEE stays on record, for `reconcile`. */
	if (result != 0 && record->group == GROUP_UNSET)
		remove_record(state->id);
	write_summary();
	return result;
}

int hook_set(const struct state *state, const struct options *options)
{
	struct record record = {
		.kib = options->kib,
		.group = GROUP_UNSET,
		.secure_storage = options->secure_storage,
	};

	if (look_at_container(state->pid, &record.container) != 0 || lock_records() != 0)
		return -1;
	int result = set_locked(state, &record);
	unlock_records();
	return result;
}

static int count_unknown(const char *id, struct record *record, void *context)
{
	(void)id;
	*(int *)context += record->group == GROUP_UNKNOWN;
	return 0;
}

/* A call that never answered may have made a group, which nobody can name and clean up: it counts
 * as used until the TEE restarts, but there are no more such groups than the TEE has. */
bool stays_unknown(const struct record *record)
{
	struct incarnation tee;
	int unknown = 0;

	if (record->group != GROUP_UNKNOWN || !tee_incarnation(&tee) ||
	    !same_incarnation(&tee, &record->tee))
		return false;
	each_record(count_unknown, &unknown);
	return unknown <= MOST_CONTAINERS;
}

int hook_clean(const struct state *state)
{
	struct incarnation tee;
	struct record record;
	int result = 0;

	if (lock_records() != 0)
		return -1;
	/* While teecd is down nothing can be cleaned up: `reconcile` does, by the record. */
	if (tee_incarnation(&tee) && read_record(state->id, &record) == 0 &&
	    !stays_unknown(&record)) {
		result = give_back(state->id, &record);
		if (result != -1)
			result = remove_record(state->id);
		write_summary();
	}
	unlock_records();
	return result;
}
