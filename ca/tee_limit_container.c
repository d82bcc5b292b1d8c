/*
 * Looks at a container's first process, and at the TEE's daemon.
 *
 * The TEE knows a container by the inode of its pid namespace, so that must be the container's
 * own: not the node's (hostPID), and not the pod's (shareProcessNamespace).
 */
#define _GNU_SOURCE
#include "tee_limit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LONGEST_PATH = 64, LONGEST_FILE = 8192, FIRST_AFTER_NAME = 3, START_FIELD = 22 };

static bool read_file(long pid, const char *name, char *text, size_t size)
{
	char path[LONGEST_PATH];
	ssize_t length = -1;

	snprintf(path, sizeof(path), "/proc/%ld/%s", pid, name);
	int descriptor = open(path, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0)
		return false;
	do
		length = read(descriptor, text, size - 1);
	while (length < 0 && errno == EINTR);
	close(descriptor);
	if (length < 0)
		return false;
	text[length] = '\0';
	return true;
}

static bool namespace_of(const char *process, unsigned long long *inode)
{
	char path[LONGEST_PATH];
	struct stat status;

	snprintf(path, sizeof(path), "/proc/%s/ns/pid", process);
	if (stat(path, &status) != 0)
		return false;
	*inode = status.st_ino;
	return true;
}

/* proc(5): the name, in parentheses, may have spaces and parentheses itself. */
static bool start_of(long pid, unsigned long long *started)
{
	char text[LONGEST_FILE];
	char *at;

	if (!read_file(pid, "stat", text, sizeof(text)) || (at = strrchr(text, ')')) == NULL)
		return false;
	/* Ended, and not waited for yet. */
	if (at[1] == '\0' || at[2] == 'Z' || at[2] == 'X')
		return false;
	for (int field = FIRST_AFTER_NAME - 1; field < START_FIELD; field++)
		if ((at = strchr(at + 1, ' ')) == NULL)
			return false;
	*started = strtoull(at, NULL, 10);
	return true;
}

/* Its number in the innermost namespace; 0 where the kernel doesn't say. */
static long number_inside(long pid)
{
	static const char key[] = "\nNSpid:";
	char text[LONGEST_FILE];
	char *at, *end;
	long number = 0;

	if (!read_file(pid, "status", text, sizeof(text)) || (at = strstr(text, key)) == NULL)
		return 0;
	at += sizeof(key) - 1;
	for (;;) {
		long next = strtol(at, &end, 10);
		if (end == at || memchr(at, '\n', (size_t)(end - at)) != NULL)
			return number;
		number = next;
		at = end;
	}
}

int look_at_container(long pid, struct container *container)
{
	char process[24];
	unsigned long long own;

	if (pid <= 1)
		return complain("the state has no process (pid %ld): let a container runtime call this "
				"as a createRuntime hook", pid);
	snprintf(process, sizeof(process), "%ld", pid);
	container->pid = pid;
	if (!namespace_of("self", &own) || !namespace_of(process, &container->namespace) ||
	    !start_of(pid, &container->started))
		return complain("its process %ld can't be looked at (%s): it is not started", pid,
				strerror(errno));
	if (container->namespace == own)
		return complain("it runs in the node's pid namespace (hostPID), so the TEE can't limit "
				"it alone: it is not started; fix: leave hostPID out of the pod");
	if (number_inside(pid) != 1)
		return complain("it shares its pid namespace with other containers "
				"(shareProcessNamespace), so the TEE can't limit it alone: it is not "
				"started; fix: leave shareProcessNamespace out of the pod");
	return 0;
}

bool container_lives(const struct container *container)
{
	char process[24];
	unsigned long long namespace, started;

	snprintf(process, sizeof(process), "%ld", container->pid);
	return namespace_of(process, &namespace) && namespace == container->namespace &&
	       start_of(container->pid, &started) && started == container->started;
}

bool tee_incarnation(struct incarnation *incarnation)
{
	struct stat status;

	memset(incarnation, 0, sizeof(*incarnation));
	if (stat(TEE_LIMIT_TEECD, &status) != 0)
		return false;
	incarnation->inode = status.st_ino;
	/* Not st_ctim, which teecd changes by a chmod after it has made the socket. */
	incarnation->seconds = (unsigned long long)status.st_mtim.tv_sec;
	incarnation->nanoseconds = (unsigned long long)status.st_mtim.tv_nsec;
	return true;
}

bool same_incarnation(const struct incarnation *one, const struct incarnation *other)
{
	return one->inode == other->inode && one->seconds == other->seconds &&
	       one->nanoseconds == other->nanoseconds;
}
