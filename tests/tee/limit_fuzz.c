/*
 * Mutates container states and outputs of the vendor's tool, and parses them as tee-limit does;
 * built with sanitizers. limit_fuzz SECONDS SEED prints how many inputs there were, and how many
 * of each kind were taken.
 */
#define _GNU_SOURCE
#include "tee_limit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST = 4096, ROUNDS = 1000 };

static const char *const states[] = {
	"{\"ociVersion\":\"1.2.0\",\"id\":\"0123456789abcdef\",\"status\":\"creating\",\"pid\":4242,"
	"\"bundle\":\"/run/x\",\"annotations\":{\"a\\u00e9\\n\":\"b\",\"pid\":\"1\"}}",
	"{ \"pid\" : 1 , \"id\" : \"a.b-c_d\" , \"x\" : [ 1.5e-3 , -0 , true , false , null , [ ] , {} ] }",
	"{\"id\":\"x\",\"pid\":0}",
	"{\"id\":\"x\",\"y\":[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]],\"pid\":2147483647}",
};

static const char *const outputs[] = {
	"succeed to parse mem size config!\nTeeRconfig ret is 5\n",
	"please add k/m/g after mem size!\nTeeRconfig ret is -22\n",
	"grp id is 5\nfailed to clean tee resource!\n",
};

static const char *const words[] = {
	"\"id\":",  "\"pid\":",	 "{",	 "}",	 "[",	   "]",	     ",",	   ":",
	"\"",	    "\\",	 "\\u0", "-",	 "1e9",	   "null",   "\\u0000",	   "99999999999",
	"TeeRcon", "ret is ", "\n", "-2147483649", "4294967296", "succeed to parse mem", "\xff", "\x7f",
};

static unsigned long long random_state;

static unsigned long long next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static size_t below(size_t bound)
{
	return bound == 0 ? 0 : next() % bound;
}

static size_t insert(char *text, size_t length, const char *word, size_t size)
{
	size_t at = below(length + 1);

	if (length + size > LONGEST)
		return length;
	memmove(text + at + size, text + at, length - at);
	memcpy(text + at, word, size);
	return length + size;
}

static size_t mutate(char *text, size_t length)
{
	size_t at = below(length), size = below(length - at + 1);
	char copy[LONGEST];
	const char *word = words[below(sizeof(words) / sizeof(words[0]))];

	switch (below(6)) {
	case 0:
		if (length > 0)
			text[at] = (char)next();
		return length;
	case 1:
		memmove(text + at, text + at + size, length - at - size);
		return length - size;
	case 2:
		memcpy(copy, text + at, size);
		return insert(text, length, copy, size);
	case 3:
		return below(length + 1);
	default:
		return insert(text, length, word, strlen(word));
	}
}

/* In a block of its own size, so that a read beyond the end is seen. */
static int try_state(const char *text, size_t length)
{
	char *exact = malloc(length == 0 ? 1 : length);
	struct state state;

	if (exact == NULL)
		abort();
	memcpy(exact, text, length);
	int result = parse_state(exact, length, &state);
	free(exact);
	if (result == 0 && (!id_is_plain(state.id) || state.pid < 0))
		abort();
	return result == 0;
}

static int try_output(const char *text, size_t length)
{
	char *exact = malloc(length + 1);
	bool memory_parsed;
	long group;

	if (exact == NULL)
		abort();
	memcpy(exact, text, length);
	exact[length] = '\0';
	int result = parse_group(exact, &memory_parsed, &group);
	if (result == 0 && strstr(exact, "TeeRconfig ret is ") == NULL)
		abort();
	free(exact);
	return result == 0;
}

int main(int argc, char **argv)
{
	unsigned long long tried = 0, good_states = 0, good_outputs = 0;
	char text[LONGEST];

	if (argc != 3)
		return 2;
	time_t end = time(NULL) + atoi(argv[1]);
	random_state = strtoull(argv[2], NULL, 10) * 2654435769u + 1;
	/* Refusals have words; sanitizers write to a copy of the descriptor by ASAN_OPTIONS. */
	int null = open("/dev/null", O_WRONLY);
	if (null < 0 || dup2(null, STDERR_FILENO) < 0)
		return 2;
	while (time(NULL) < end)
		for (int i = 0; i < ROUNDS; i++, tried++) {
			bool is_state = below(4) != 0;
			const char *seed = is_state ? states[below(4)] : outputs[below(3)];
			size_t length = strlen(seed);
			memcpy(text, seed, length);
			for (size_t changes = below(8); changes > 0; changes--)
				length = mutate(text, length);
			if (is_state)
				good_states += (unsigned)try_state(text, length);
			else
				good_outputs += (unsigned)try_output(text, length);
		}
	printf("%llu inputs, %llu states and %llu outputs taken\n", tried, good_states, good_outputs);
	return 0;
}
