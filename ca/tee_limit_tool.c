/*
 * Runs the vendor's tool: no shell, no environment, an absolute path, and a time limit.
 *
 * Its exit status is a group's number modulo 256, so failures (-1, -22, -14) look like groups, and
 * group 300 like 44. An amount that it can't read sets no limit and looks like success as well. So
 * only two lines of its output count: that the amount was read, and the group as text.
 */
#define _GNU_SOURCE
#include "tee_limit.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HIGHEST_DESCRIPTOR = 1024, PAUSE_NS = 5000000, KILL_TRIES = 40, LONGEST_TOLD = 160 };

#define REFUSED "so its TEE memory can't be limited, and it is not started"

struct ended {
	int status; /* as of waitpid */
	char output[LONGEST_OUTPUT + 1];
};

/* In the child, until the tool is in its place. */
static void become_tool(char *const arguments[], int output, int told)
{
	static char *const no_environment[] = { NULL };
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGALRM, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 &&
	    dup2(output, STDERR_FILENO) >= 0 && chdir("/") == 0) {
		for (int i = STDERR_FILENO + 1; i < HIGHEST_DESCRIPTOR; i++)
			if (i != told)
				close(i);
		execve(TEE_LIMIT_TOOL, arguments, no_environment);
	}
	int error = errno;
	if (write(told, &error, sizeof(error)) < 0)
		_exit(EXIT_FAILURE);
	_exit(EXIT_FAILURE);
}

/* Root runs it: nobody else may be able to exchange it. */
static int check_tool(void)
{
	struct stat status;

	if (stat(TEE_LIMIT_TOOL, &status) != 0)
		return complain("%s: %s, " REFUSED "; fix: install iTrustee's tee_teleport",
				TEE_LIMIT_TOOL, strerror(errno));
	if (!S_ISREG(status.st_mode) || access(TEE_LIMIT_TOOL, X_OK) != 0)
		return complain("%s is not executable, " REFUSED "; fix: chmod 755 %s", TEE_LIMIT_TOOL,
				TEE_LIMIT_TOOL);
	if (status.st_uid != geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return complain("%s may be changed by others than root, " REFUSED
				"; fix: chown root %s; chmod 755 %s",
				TEE_LIMIT_TOOL, TEE_LIMIT_TOOL, TEE_LIMIT_TOOL);
	return 0;
}

static pid_t reaped(pid_t child, int *status, int tries)
{
	static const struct timespec pause = { 0, PAUSE_NS };
	pid_t found = 0;

	while (tries-- > 0 && (found = waitpid(child, status, WNOHANG)) == 0)
		nanosleep(&pause, NULL);
	return found;
}

/* In the kernel even SIGKILL may not end it: then it is left behind. */
static int kill_tool(pid_t child, long limit_ms)
{
	int status;

	kill(-child, SIGKILL);
	kill(child, SIGKILL);
	reaped(child, &status, KILL_TRIES);
	return complain("%s did not end within %ld ms, " REFUSED "; fix: see whether the TEE hangs: "
			"tee-device-plugin doctor", TEE_LIMIT_TOOL, limit_ms);
}

/* Reads until the tool has closed its output, or so many milliseconds are left: 1 then; -1 for an
 * error. */
static int read_output(int descriptor, char *output, long until_ms)
{
	char rest[256];
	size_t length = 0;

	for (;;) {
		long left = milliseconds_left() - until_ms;
		struct pollfd ready = { .fd = descriptor, .events = POLLIN };
		int count = left > 0 ? poll(&ready, 1, (int)left) : 0;
		if (count == 0)
			return 1;
		if (count < 0 && errno == EINTR)
			continue;
		bool has_room = length < LONGEST_OUTPUT;
		ssize_t got = has_room ? read(descriptor, output + length, LONGEST_OUTPUT - length)
				       : read(descriptor, rest, sizeof(rest));
		if (got < 0 && errno != EINTR)
			return -1;
		if (got == 0) {
			output[length] = '\0';
			return 0;
		}
		if (got > 0 && has_room)
			length += (size_t)got;
	}
}

static int start_tool(char *const arguments[], pid_t *child, int *output)
{
	int out[2], told[2], error = 0;

	if (pipe2(out, O_CLOEXEC) != 0)
		return complain("a pipe can't be made: %s", strerror(errno));
	if (pipe2(told, O_CLOEXEC) != 0 || (*child = fork()) < 0)
		return complain("%s can't be started: %s", TEE_LIMIT_TOOL, strerror(errno));
	if (*child == 0)
		become_tool(arguments, out[1], told[1]);
	close(out[1]);
	close(told[1]);
	ssize_t got = read(told[0], &error, sizeof(error));
	close(told[0]);
	*output = out[0];
	if (got == (ssize_t)sizeof(error)) {
		waitpid(*child, &error, 0);
		close(out[0]);
		return complain("%s can't be run, " REFUSED "; fix: reinstall iTrustee's tee_teleport",
				TEE_LIMIT_TOOL);
	}
	return 0;
}

/* -1: it was not started; -2: it was, and what it did is not known. */
static int run_tool(char *const arguments[], struct ended *ended)
{
	long limit = milliseconds_left() < TEE_LIMIT_CALL_MS ? milliseconds_left() : TEE_LIMIT_CALL_MS;
	long until = milliseconds_left() - limit;
	pid_t child = -1;
	int output = -1;

	memset(ended, 0, sizeof(*ended));
	if (check_tool() != 0 || start_tool(arguments, &child, &output) != 0)
		return -1;
	int result = read_output(output, ended->output, until);
	close(output);
	if (result != 0)
		return kill_tool(child, limit) - 1;
	long left = milliseconds_left() - until;
	if (reaped(child, &ended->status, (int)(left * 1000000 / PAUSE_NS) + 1) != child)
		return kill_tool(child, limit) - 1;
	return 0;
}

/* The last line that says something, for the message. */
static const char *told(const char *output)
{
	static char line[LONGEST_TOLD];
	size_t end = strlen(output), start;

	while (end > 0 && !isgraph((unsigned char)output[end - 1]))
		end--;
	for (start = end; start > 0 && output[start - 1] != '\n'; start--)
		if (end - start == sizeof(line) - 1)
			break;
	if (start == end)
		return "nothing";
	memcpy(line, output + start, end - start);
	line[end - start] = '\0';
	return line;
}

int parse_group(const char *output, bool *memory_parsed, long *group)
{
	static const char parsed[] = "succeed to parse mem size config!\n";
	static const char returned[] = "TeeRconfig ret is ";
	const char *found = strstr(output, returned);
	char *end;

	*memory_parsed = strstr(output, parsed) != NULL;
	if (found == NULL || strstr(found + 1, returned) != NULL ||
	    (found != output && found[-1] != '\n'))
		return -1;
	found += sizeof(returned) - 1;
	errno = 0;
	*group = strtol(found, &end, 10);
	/* strtol would take blanks and a plus sign. */
	bool is_number = isdigit((unsigned char)found[0]) ||
			 (found[0] == '-' && isdigit((unsigned char)found[1]));
	if (!is_number || *end != '\n' || errno != 0 || *group > INT_MAX || *group < INT_MIN)
		return -1;
	return 0;
}

int set_limit(const struct record *record, long *group)
{
	char namespace[48], memory[48];
	char *const arguments[] = { "tee_teleport", "--config-resource", namespace, memory, NULL };
	struct ended ended;
	bool memory_parsed;

	*group = GROUP_UNSET;
	snprintf(namespace, sizeof(namespace), "--nsid=%llu", record->container.namespace);
	snprintf(memory, sizeof(memory), "--memory=%lluK", record->kib);
	int result = run_tool(arguments, &ended);
	if (result != 0) {
		/* A call that never answered may have made a group. */
		*group = result == -1 ? GROUP_UNSET : GROUP_UNKNOWN;
		return -1;
	}
	if (WIFSIGNALED(ended.status)) {
		*group = GROUP_UNKNOWN;
		return complain("%s was ended by signal %d, " REFUSED, TEE_LIMIT_TOOL,
				WTERMSIG(ended.status));
	}
	if (parse_group(ended.output, &memory_parsed, group) != 0) {
		/* It may have made one, where it said more than was understood. */
		bool is_silent = strstr(ended.output, "ret is") == NULL &&
				 strlen(ended.output) < LONGEST_OUTPUT;
		*group = is_silent ? GROUP_UNSET : GROUP_UNKNOWN;
		return complain("%s named no group (it said: %s), " REFUSED
				"; fix: see whether the TEE runs: tee-device-plugin doctor",
				TEE_LIMIT_TOOL, told(ended.output));
	}
	if (*group < 0) {
		long error = *group;
		*group = GROUP_UNSET;
		return complain("the TEE refused to limit it to %llu KiB (error %ld; it has room for %d "
				"containers), " REFUSED, record->kib, error, MOST_CONTAINERS);
	}
	if (memory_parsed)
		return 0;
	/* It has made a group without a limit, which the caller cleans up. */
	return complain("%s did not understand the amount %lluK, " REFUSED, TEE_LIMIT_TOOL,
			record->kib);
}

int set_secure_storage(const struct record *record, const char *id)
{
	char namespace[48], container[LONGEST_ID + 32];
	char *const arguments[] = { "tee_teleport", "--config-container", namespace, container, NULL };
	struct ended ended;

	if (strlen(id) != 64 || strspn(id, "0123456789abcdefABCDEF") != 64)
		return complain("its id has not 64 hexadecimal digits, so it can't have secure storage, "
				"and it is not started; fix: write the CDI specification without "
				"--secure-storage");
	snprintf(namespace, sizeof(namespace), "--nsid=%llu", record->container.namespace);
	snprintf(container, sizeof(container), "--containerid=%s", id);
	if (run_tool(arguments, &ended) != 0)
		return -1;
	if (!WIFEXITED(ended.status) || WEXITSTATUS(ended.status) != 0)
		return complain("the TEE refused its secure storage (status %d; %s said: %s), and it is "
				"not started", ended.status >> 8, TEE_LIMIT_TOOL, told(ended.output));
	return 0;
}

int clean_group(long group, const char *id_with_storage, bool is_expected)
{
	char number[48], container[LONGEST_ID + 32] = "";
	char *const arguments[] = { "tee_teleport", "--clean", number,
				    id_with_storage != NULL ? container : NULL, NULL };
	struct ended ended;

	snprintf(number, sizeof(number), "--grpid=%ld", group);
	if (id_with_storage != NULL)
		snprintf(container, sizeof(container), "--containerid=%s", id_with_storage);
	if (run_tool(arguments, &ended) != 0)
		return -1;
	if (WIFEXITED(ended.status) && WEXITSTATUS(ended.status) == 0 &&
	    strstr(ended.output, "failed to clean") == NULL)
		return 0;
	/* Also where the group is gone already, which the tool doesn't tell apart. */
	if (is_expected)
		complain("the TEE did not clean group %ld up (%s said: %s)", group, TEE_LIMIT_TOOL,
			 told(ended.output));
	return -2;
}
