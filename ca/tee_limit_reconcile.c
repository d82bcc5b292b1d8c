/*
 * The host service: after a restart of the TEE it sets the limits of living containers again, and
 * it cleans up after containers that ended without their poststop hook.
 */
#define _GNU_SOURCE
#include "tee_limit.h"

#include <stdio.h>
#include <string.h>

struct names {
	char ids[4 * MOST_CONTAINERS][LONGEST_ID + 1];
	int count;
};

static int remember(const char *id, struct record *record, void *context)
{
	struct names *names = context;

	(void)record;
	if (names->count < (int)(sizeof(names->ids) / sizeof(names->ids[0])))
		snprintf(names->ids[names->count++], sizeof(names->ids[0]), "%s", id);
	return 0;
}

static int reconcile_one(const char *id, const struct incarnation *tee)
{
	struct record record;

	/* Read again under the lock: it may have ended meanwhile. */
	if (read_record(id, &record) != 0)
		return 0;
	bool is_current = same_incarnation(&record.tee, tee);
	if (!container_lives(&record.container)) {
		if (stays_unknown(&record))
			return 0;
		return give_back(id, &record) == -1 ? -1 : remove_record(id);
	}
	if (is_current && record.group >= 0)
		return 0;
	/* Still there if only teecd was started again; it would count towards the TEE's groups. */
	if (give_back(id, &record) == -1)
		return -1;
	return apply(id, &record);
}

/* -1 where one container's limit could not be set: the others' are tried all the same. */
static int reconcile_all(void)
{
	static struct names names;
	struct incarnation tee;
	int result = 0;

	if (!tee_incarnation(&tee))
		return complain("teecd is not running (there is no " TEE_LIMIT_TEECD "): limits are set "
				"again when it is; fix: systemctl start teecd");
	begin_deadline(TEE_LIMIT_HOOK_MS);
	if (each_record(remember, &names) != 0)
		return -1;
	for (int i = 0; i < names.count; i++) {
		name_container(names.ids[i]);
		begin_deadline(TEE_LIMIT_HOOK_MS);
		/* Hooks of containers that start meanwhile get their turn. */
		if (lock_records() != 0)
			return -1;
		if (reconcile_one(names.ids[i], &tee) != 0)
			result = -1;
		unlock_records();
	}
	return result;
}

int reconcile(void)
{
	if (open_records() != 0)
		return -1;
	int result = reconcile_all();

	begin_deadline(TEE_LIMIT_HOOK_MS);
	if (lock_records() != 0)
		return -1;
	if (write_summary() != 0 || write_reconciled(result == 0 ? "" : last_complaint()) != 0)
		result = -1;
	unlock_records();
	return result;
}
