/*
 * The command line, messages and time limit of tee-limit.
 *
 *   tee-limit set --memory=NK [--secure-storage]   createRuntime hook: state on standard input
 *   tee-limit clean [--secure-storage]             poststop hook: likewise
 *   tee-limit reconcile                            host service: after a restart of the TEE
 */
#define _GNU_SOURCE
#include "tee_limit.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_WRONG_USE = 2, ALARM_EXTRA_MS = 2000, MS = 1000, NS_PER_MS = 1000000 };

static char named[LONGEST_ID + 16];
static char complaint[512];
static long long ends_ms;

void name_container(const char *id)
{
	/* As container runtimes shorten it. */
	snprintf(named, sizeof(named), "container %.12s: ", id);
}

int complain(const char *format, ...)
{
	char line[sizeof(complaint) + sizeof(named) + 16];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(complaint, sizeof(complaint), format, arguments);
	va_end(arguments);
	for (char *at = complaint; *at != '\0'; at++)
		if (!isprint((unsigned char)*at))
			*at = ' ';
	snprintf(line, sizeof(line), "tee-limit: %s%s\n", named, complaint);
	/* Where it is closed, the exit status alone says it. */
	if (write(STDERR_FILENO, line, strlen(line)) < 0)
		return -1;
	return -1;
}

const char *last_complaint(void)
{
	return complaint;
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (long long)now.tv_sec * MS + now.tv_nsec / NS_PER_MS;
}

void begin_deadline(long milliseconds)
{
	ends_ms = now_ms() + milliseconds;
}

long milliseconds_left(void)
{
	long long left = ends_ms - now_ms();

	return left > 0 ? (long)left : 0;
}

/* For a call that no time limit of ours reaches, such as a write to a stuck file system. */
static void alarmed(int number)
{
	static const char line[] = "tee-limit: timed out: the container is not started\n";

	(void)number;
	if (write(STDERR_FILENO, line, sizeof(line) - 1) < 0)
		_exit(EXIT_FAILURE);
	_exit(EXIT_FAILURE);
}

static void limit_time(void)
{
	struct sigaction action = { .sa_handler = alarmed };
	long total = TEE_LIMIT_HOOK_MS + ALARM_EXTRA_MS;
	struct itimerval timer = { .it_value = { total / MS, total % MS * MS } };
	sigset_t none;

	begin_deadline(TEE_LIMIT_HOOK_MS);
	/* The runtime may have started us with signals held back. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* Whole KiB only: of other amounts the tool sets no limit, and reports success. */
static bool parse_memory(const char *text, unsigned long long *kib)
{
	size_t digits = strspn(text, "0123456789");

	if (digits < 1 || digits > 12 || text[0] == '0' || strcmp(text + digits, "K") != 0)
		return false;
	*kib = strtoull(text, NULL, 10);
	return true;
}

static bool parse_options(int argc, char **argv, struct options *options)
{
	static const char memory[] = "--memory=";

	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--secure-storage") == 0)
			options->secure_storage = true;
		else if (strncmp(argv[i], memory, sizeof(memory) - 1) != 0 || options->kib != 0 ||
			 !parse_memory(argv[i] + sizeof(memory) - 1, &options->kib))
			return false;
	}
	return true;
}

/* 0, 1 and 2 may be closed; a file that we open must not become one of them. */
static void open_standard_descriptors(void)
{
	int descriptor;

	do
		descriptor = open("/dev/null", O_RDWR);
	while (descriptor >= 0 && descriptor <= STDERR_FILENO);
	if (descriptor > STDERR_FILENO)
		close(descriptor);
}

static int hook(const char *command, const struct options *options)
{
	struct state state;

	limit_time();
	if (read_state(STDIN_FILENO, &state) != 0)
		return -1;
	name_container(state.id);
	if (open_records() != 0)
		return -1;
	return strcmp(command, "set") == 0 ? hook_set(&state, options) : hook_clean(&state);
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	const char *command = argc > 1 ? argv[1] : "";
	bool sets = strcmp(command, "set") == 0;
	bool cleans = strcmp(command, "clean") == 0;

	open_standard_descriptors();
	umask(077);
	if (parse_options(argc, argv, &options)) {
		if (sets ? options.kib != 0 : cleans && options.kib == 0)
			return hook(command, &options) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
		if (strcmp(command, "reconcile") == 0 && argc == 2)
			return reconcile() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	}
	complain("usage: tee-limit set --memory=NK [--secure-storage] | clean [--secure-storage] | "
		 "reconcile, N being a whole number of KiB; write the CDI specification again: "
		 "tee-device-plugin cdi");
	return EXIT_WRONG_USE;
}
