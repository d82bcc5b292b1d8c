/*
 * Reads the state of a container, JSON by the OCI runtime specification, from standard input.
 *
 * The runtime is trusted; its JSON is parsed strictly all the same, because what follows runs as
 * root: another syntax, a wrong type, a repeated key or deep nesting is refused.
 */
#define _GNU_SOURCE
#include "tee_limit.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { DEEPEST = 64, MOST_PID_DIGITS = 10 };

struct reader {
	const char *at;
	const char *end;
	int depth;
};

struct text {
	const char *start;
	size_t length;
	bool is_plain; /* no escapes */
};

static bool skip_value(struct reader *reader);

static void skip_space(struct reader *reader)
{
	while (reader->at < reader->end && memchr(" \t\r\n", *reader->at, 4) != NULL)
		reader->at++;
}

static bool take(struct reader *reader, char wanted)
{
	skip_space(reader);
	if (reader->at >= reader->end || *reader->at != wanted)
		return false;
	reader->at++;
	return true;
}

static bool take_escape(struct reader *reader)
{
	if (reader->at >= reader->end)
		return false;
	char kind = *reader->at++;
	if (kind != 'u')
		return memchr("\"\\/bfnrt", kind, 8) != NULL;
	for (int i = 0; i < 4; i++, reader->at++)
		if (reader->at >= reader->end || !isxdigit((unsigned char)*reader->at))
			return false;
	return true;
}

static bool take_text(struct reader *reader, struct text *text)
{
	if (!take(reader, '"'))
		return false;
	text->start = reader->at;
	text->is_plain = true;
	while (reader->at < reader->end) {
		unsigned char byte = (unsigned char)*reader->at++;
		if (byte == '"') {
			text->length = (size_t)(reader->at - 1 - text->start);
			return true;
		}
		if (byte < ' ')
			return false;
		if (byte == '\\') {
			text->is_plain = false;
			if (!take_escape(reader))
				return false;
		}
	}
	return false;
}

static size_t skip_digits(struct reader *reader)
{
	const char *start = reader->at;

	while (reader->at < reader->end && isdigit((unsigned char)*reader->at))
		reader->at++;
	return (size_t)(reader->at - start);
}

static bool skip_number(struct reader *reader)
{
	if (reader->at < reader->end && *reader->at == '-')
		reader->at++;
	const char *first = reader->at;
	size_t digits = skip_digits(reader);
	if (digits == 0 || (*first == '0' && digits > 1))
		return false;
	if (reader->at < reader->end && *reader->at == '.') {
		reader->at++;
		if (skip_digits(reader) == 0)
			return false;
	}
	if (reader->at < reader->end && (*reader->at == 'e' || *reader->at == 'E')) {
		reader->at++;
		if (reader->at < reader->end && (*reader->at == '+' || *reader->at == '-'))
			reader->at++;
		return skip_digits(reader) > 0;
	}
	return true;
}

static bool skip_word(struct reader *reader, const char *word)
{
	size_t length = strlen(word);

	if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
		return false;
	reader->at += length;
	return true;
}

static bool skip_members(struct reader *reader, char close, bool has_keys)
{
	struct text key;

	reader->at++;
	if (take(reader, close))
		return true;
	do {
		if (has_keys && !(take_text(reader, &key) && take(reader, ':')))
			return false;
		if (!skip_value(reader))
			return false;
	} while (take(reader, ','));
	return take(reader, close);
}

static bool skip_value(struct reader *reader)
{
	struct text text;
	bool is_good;

	skip_space(reader);
	if (reader->at >= reader->end || ++reader->depth > DEEPEST)
		return false;
	switch (*reader->at) {
	case '{':
		is_good = skip_members(reader, '}', true);
		break;
	case '[':
		is_good = skip_members(reader, ']', false);
		break;
	case '"':
		is_good = take_text(reader, &text);
		break;
	case 't':
		is_good = skip_word(reader, "true");
		break;
	case 'f':
		is_good = skip_word(reader, "false");
		break;
	case 'n':
		is_good = skip_word(reader, "null");
		break;
	default:
		is_good = skip_number(reader);
	}
	reader->depth--;
	return is_good;
}

bool id_is_plain(const char *id)
{
	size_t length = strlen(id);

	/* It becomes a file's name. */
	if (length < 1 || length > LONGEST_ID || id[0] == '.' || id[0] == '-')
		return false;
	for (const char *at = id; *at != '\0'; at++)
		if (!isascii(*at) || (!isalnum((unsigned char)*at) && strchr("_.-+", *at) == NULL))
			return false;
	return true;
}

static bool take_id(struct reader *reader, struct state *state)
{
	struct text text;

	if (state->id[0] != '\0' || !take_text(reader, &text) || !text.is_plain ||
	    text.length > LONGEST_ID || memchr(text.start, '\0', text.length) != NULL)
		return false;
	memcpy(state->id, text.start, text.length);
	state->id[text.length] = '\0';
	return id_is_plain(state->id);
}

static bool take_pid(struct reader *reader, struct state *state, bool *has_pid)
{
	skip_space(reader);
	const char *start = reader->at;
	size_t digits = skip_digits(reader);

	if (*has_pid || digits == 0 || digits > MOST_PID_DIGITS)
		return false;
	*has_pid = true;
	for (size_t i = 0; i < digits; i++)
		state->pid = state->pid * 10 + (start[i] - '0');
	return true;
}

static bool is_key(const struct text *key, const char *name)
{
	return key->is_plain && key->length == strlen(name) &&
	       memcmp(key->start, name, key->length) == 0;
}

static bool take_state(struct reader *reader, struct state *state)
{
	bool has_pid = false;
	struct text key;

	if (!take(reader, '{'))
		return false;
	do {
		if (!take_text(reader, &key) || !take(reader, ':'))
			return false;
		bool is_good = is_key(&key, "id")    ? take_id(reader, state)
			       : is_key(&key, "pid") ? take_pid(reader, state, &has_pid)
						     : skip_value(reader);
		if (!is_good)
			return false;
	} while (take(reader, ','));
	if (!take(reader, '}'))
		return false;
	skip_space(reader);
	return reader->at == reader->end && state->id[0] != '\0';
}

int parse_state(const char *text, size_t length, struct state *state)
{
	struct reader reader = { text, text + length, 0 };

	memset(state, 0, sizeof(*state));
	if (take_state(&reader, state))
		return 0;
	return complain("the state on standard input is no container's by the OCI runtime "
			"specification (%zu bytes, wrong at byte %zu): let a container runtime call "
			"this hook",
			length, (size_t)(reader.at - text));
}

int read_state(int descriptor, struct state *state)
{
	static char text[LONGEST_STATE + 1];
	size_t length = 0;

	while (length < sizeof(text)) {
		struct pollfd ready = { .fd = descriptor, .events = POLLIN };
		if (poll(&ready, 1, (int)milliseconds_left()) == 0)
			return complain("the runtime did not write the container's state in time");
		ssize_t got = read(descriptor, text + length, sizeof(text) - length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return complain("the state on standard input can't be read: %s", strerror(errno));
		if (got == 0)
			return parse_state(text, length, state);
		length += (size_t)got;
	}
	return complain("the state on standard input has over %d bytes", LONGEST_STATE);
}
