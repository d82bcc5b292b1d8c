/*
 * What is known of each container, in a directory of root's alone: one file by the container's id.
 *
 * A record is written anew beside the old one and renamed, so a reader sees a whole one. All that
 * changes them or calls the TEE for them holds the lock.
 */
#define _GNU_SOURCE
#include "tee_limit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_RECORD = 512, LOCK_PAUSE_NS = 5000000 };

#define CONTAINERS "containers"

static int top = -1, containers = -1, lock = -1;

static int open_directory(int parent, const char *name)
{
	struct stat status;

	if (mkdirat(parent, name, 0700) != 0 && errno != EEXIST)
		return complain("%s: can't be made: %s", name, strerror(errno));
	int descriptor = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (descriptor < 0 || fstat(descriptor, &status) != 0)
		return complain("%s: can't be opened: %s", name, strerror(errno));
	/* The kubelet makes it for the plugin's pod, with 0755, if that is there first. */
	if (status.st_uid != geteuid() || (status.st_mode & 0022) != 0 || fchmod(descriptor, 0700) != 0)
		return complain("%s: others than root may change it: it is not used; fix: remove it",
				name);
	return descriptor;
}

int open_records(void)
{
	top = open_directory(AT_FDCWD, TEE_LIMIT_DIRECTORY);
	if (top < 0)
		return -1;
	containers = open_directory(top, CONTAINERS);
	if (containers < 0)
		return -1;
	lock = openat(top, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (lock < 0)
		return complain(TEE_LIMIT_DIRECTORY "/lock: can't be opened: %s", strerror(errno));
	return 0;
}

int lock_records(void)
{
	static const struct timespec pause = { 0, LOCK_PAUSE_NS };

	while (flock(lock, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return complain(TEE_LIMIT_DIRECTORY "/lock: %s", strerror(errno));
		if (milliseconds_left() == 0)
			return complain("other containers' limits are still being set: it is not "
					"started, and is tried again; fix: see whether the TEE hangs: "
					"tee-device-plugin doctor");
		nanosleep(&pause, NULL);
	}
	return 0;
}

void unlock_records(void)
{
	flock(lock, LOCK_UN);
}

static int write_file(int directory, const char *name, const char *text)
{
	char fresh[LONGEST_ID + 8];
	size_t length = strlen(text);

	/* A container's id never begins so. */
	snprintf(fresh, sizeof(fresh), ".%s", name);
	int descriptor = openat(directory, fresh,
				O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (descriptor < 0)
		return complain(TEE_LIMIT_DIRECTORY "/%s: can't be made: %s", fresh, strerror(errno));
	bool is_written = write(descriptor, text, length) == (ssize_t)length;
	is_written = close(descriptor) == 0 && is_written;
	if (is_written && renameat(directory, fresh, directory, name) == 0)
		return 0;
	int error = errno;
	unlinkat(directory, fresh, 0);
	return complain(TEE_LIMIT_DIRECTORY "/%s: can't be written: %s", name, strerror(error));
}

static int read_file(int directory, const char *name, char *text, size_t size)
{
	int descriptor = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (descriptor < 0)
		return errno == ENOENT ? 1 : -1;
	ssize_t length = read(descriptor, text, size - 1);
	close(descriptor);
	if (length < 0)
		return -1;
	text[length] = '\0';
	return 0;
}

int write_record(const char *id, const struct record *record)
{
	const struct container *container = &record->container;
	const struct incarnation *tee = &record->tee;
	char text[LONGEST_RECORD];

	snprintf(text, sizeof(text),
		 "1 pid=%ld started=%llu namespace=%llu kib=%llu group=%ld storage=%d "
		 "tee=%llu.%llu.%llu\n",
		 container->pid, container->started, container->namespace, record->kib, record->group,
		 record->secure_storage, tee->inode, tee->seconds, tee->nanoseconds);
	return write_file(containers, id, text);
}

int read_record(const char *id, struct record *record)
{
	struct container *container = &record->container;
	struct incarnation *tee = &record->tee;
	char text[LONGEST_RECORD];
	int storage = 0, length = 0;
	int result = read_file(containers, id, text, sizeof(text));

	if (result == 1)
		return 1;
	int found = result == 0
		? sscanf(text,
			 "1 pid=%ld started=%llu namespace=%llu kib=%llu group=%ld storage=%d "
			 "tee=%llu.%llu.%llu\n%n",
			 &container->pid, &container->started, &container->namespace, &record->kib,
			 &record->group, &storage, &tee->inode, &tee->seconds, &tee->nanoseconds,
			 &length)
		: 0;
	if (found != 9 || text[length] != '\0')
		return complain(TEE_LIMIT_DIRECTORY "/" CONTAINERS "/%s: is no record of this version",
				id);
	record->secure_storage = storage != 0;
	return 0;
}

int remove_record(const char *id)
{
	if (unlinkat(containers, id, 0) == 0 || errno == ENOENT)
		return 0;
	return complain(TEE_LIMIT_DIRECTORY "/" CONTAINERS "/%s: can't be removed: %s", id,
			strerror(errno));
}

int each_record(int (*visit)(const char *id, struct record *record, void *context), void *context)
{
	struct record record;
	struct dirent *entry;
	int result = 0;
	int descriptor = openat(top, CONTAINERS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = descriptor < 0 ? NULL : fdopendir(descriptor);

	if (directory == NULL)
		return complain(TEE_LIMIT_DIRECTORY "/" CONTAINERS ": %s", strerror(errno));
	while ((entry = readdir(directory)) != NULL)
		if (id_is_plain(entry->d_name) && read_record(entry->d_name, &record) == 0 &&
		    visit(entry->d_name, &record, context) != 0)
			result = -1;
	closedir(directory);
	return result;
}

struct counts {
	struct incarnation tee;
	int limited, unset, unknown;
};

static int count(const char *id, struct record *record, void *context)
{
	struct counts *counts = context;

	(void)id;
	if (record->group == GROUP_UNKNOWN)
		counts->unknown++;
	else if (record->group >= 0 && same_incarnation(&record->tee, &counts->tee))
		counts->limited++;
	else
		counts->unset++;
	return 0;
}

int write_summary(void)
{
	struct counts counts = { 0 };
	char text[LONGEST_RECORD];

	tee_incarnation(&counts.tee);
	if (each_record(count, &counts) != 0)
		return -1;
	snprintf(text, sizeof(text), "limited=%d\nunset=%d\nunknown=%d\n", counts.limited, counts.unset,
		 counts.unknown);
	return write_file(top, "summary", text);
}

int write_reconciled(const char *problem)
{
	char text[2 * LONGEST_RECORD];

	snprintf(text, sizeof(text), "time=%lld\nproblem=%.512s\n", (long long)time(NULL), problem);
	return write_file(top, "reconciled", text);
}
