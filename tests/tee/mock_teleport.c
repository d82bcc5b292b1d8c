/*
 * A mock of iTrustee's tee_teleport, by what is known of the real one: it understands --clean,
 * --config-resource and --config-container, refuses what that refuses, and says what that says.
 *
 * MOCK_DIRECTORY has `groups/` (a file for each group: namespace and amount), `storage/` (one for
 * each container), `calls` (a line for each call), `next` (the next group's number) and
 * `behaviour`: nothing, or one of `ret N`, `hang`, `silent`, `crash`, `chatty`, `storage N`.
 * A call as from another path than MOCK_PATH is refused, as the TEE refuses it.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_GROUPS = 63, LONGEST = 256 };

extern char **environ;

static char behaviour[LONGEST];

static const char *value(const char *name)
{
	size_t length = strlen(name);

	return strncmp(behaviour, name, length) == 0 ? behaviour + length : NULL;
}

static void read_word(const char *path, char *word)
{
	FILE *file = fopen(path, "r");

	word[0] = '\0';
	if (file == NULL)
		return;
	if (fgets(word, LONGEST, file) != NULL)
		word[strcspn(word, "\n")] = '\0';
	fclose(file);
}

static void write_word(const char *path, const char *word)
{
	FILE *file = fopen(path, "w");

	if (file == NULL)
		exit(99);
	fprintf(file, "%s\n", word);
	fclose(file);
}

static void record_call(int argc, char **argv)
{
	FILE *file = fopen(MOCK_DIRECTORY "/calls", "a");

	if (file == NULL)
		exit(99);
	for (int i = 1; i < argc; i++)
		fprintf(file, "%s ", argv[i]);
	fprintf(file, "variables=%d\n", environ[0] != NULL);
	fclose(file);
}

static int groups(void)
{
	DIR *directory = opendir(MOCK_DIRECTORY "/groups");
	int count = 0;

	for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;)
		count += entry->d_name[0] != '.';
	if (directory != NULL)
		closedir(directory);
	return count;
}

static int is_amount(const char *text)
{
	char *end;

	(void)strtol(text, &end, 10);
	return end != text && *end != '\0' && strchr("KkMmGg", *end) != NULL;
}

static int make_group(const char *namespace, const char *memory)
{
	char path[LONGEST], word[2 * LONGEST];
	const char *told = value("ret ");
	int group;

	if (told != NULL && atoi(told) < 0)
		return atoi(told);
	if (groups() >= MOST_GROUPS)
		return -ENOMEM;
	read_word(MOCK_DIRECTORY "/next", word);
	group = told != NULL ? atoi(told) : atoi(word);
	if (told == NULL) {
		snprintf(word, sizeof(word), "%d", group + 1);
		write_word(MOCK_DIRECTORY "/next", word);
	}
	snprintf(path, sizeof(path), MOCK_DIRECTORY "/groups/%d", group);
	snprintf(word, sizeof(word), "%s %s", namespace, memory);
	write_word(path, word);
	return group;
}

static int config_resource(const char *namespace, const char *memory)
{
	char *end;

	(void)strtol(namespace, &end, 10);
	if (end == namespace || *end != '\0') {
		printf("failed to parse nsid!, nsid is 0\n");
		return -EINVAL;
	}
	/* Without an amount that it can read it makes a group all the same. */
	int is_limited = is_amount(memory) && value("silent amount") == NULL;
	if (is_limited)
		printf("succeed to parse mem size config!\n");
	else
		printf("please add k/m/g after mem size!\n");
	int group = make_group(namespace, is_limited ? memory : "unlimited");
	printf("TeeRconfig ret is %d\n", group);
	return group;
}

static int clean(const char *group, const char *container)
{
	char path[LONGEST];

	printf("grp id is %s\n", group);
	snprintf(path, sizeof(path), MOCK_DIRECTORY "/groups/%s", group);
	if (unlink(path) != 0) {
		printf("failed to clean tee resource!\nfailed to clean group id!\n");
		return -1;
	}
	if (container[0] == '\0')
		return 0;
	snprintf(path, sizeof(path), MOCK_DIRECTORY "/storage/%s", container);
	return unlink(path) == 0 ? 0 : -1;
}

static int config_container(const char *namespace, const char *container)
{
	char path[LONGEST];
	const char *told = value("storage ");

	if (strlen(container) != 64 || strspn(container, "0123456789abcdefABCDEF") != 64) {
		printf("not hex parameter\nbad container mesg!\n");
		return -EINVAL;
	}
	if (told != NULL)
		return atoi(told);
	snprintf(path, sizeof(path), MOCK_DIRECTORY "/storage/%s", container);
	write_word(path, namespace);
	return 0;
}

static void behave(void)
{
	char self[PATH_MAX] = "";

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0 || strcmp(self, MOCK_PATH) != 0) {
		printf("cannot init portal\n");
		exit(-EFAULT & 255);
	}
	read_word(MOCK_DIRECTORY "/behaviour", behaviour);
	if (strcmp(behaviour, "hang") == 0)
		for (;;)
			pause();
	if (strcmp(behaviour, "silent") == 0)
		exit(0);
	if (strcmp(behaviour, "crash") == 0)
		raise(SIGKILL);
	if (strcmp(behaviour, "chatty") == 0)
		for (int i = 0; i < 100000; i++)
			printf("x\x1b[31mTeeRconfig ret is 5 ");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "clean", no_argument, NULL, 'c' },	   { "config-resource", no_argument, NULL, 'r' },
		{ "config-container", no_argument, NULL, 's' }, { "nsid", required_argument, NULL, 'n' },
		{ "memory", required_argument, NULL, 'm' }, { "grpid", required_argument, NULL, 'g' },
		{ "containerid", required_argument, NULL, 'i' }, { NULL, 0, NULL, 0 },
	};
	const char *namespace = "", *memory = "", *group = "", *container = "";
	int option, action = 0;

	record_call(argc, argv);
	behave();
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'n')
			namespace = optarg;
		else if (option == 'm')
			memory = optarg;
		else if (option == 'g')
			group = optarg;
		else if (option == 'i')
			container = optarg;
		else if (strchr("crs", option) != NULL)
			action = option;
		else
			return -EINVAL & 255;
	}
	if (action == 'c')
		return clean(group, container) & 255;
	if (action == 'r')
		return config_resource(namespace, memory) & 255;
	if (action == 's')
		return config_container(namespace, container) & 255;
	printf("cannot handle user cmd\n");
	return -EINVAL & 255;
}
