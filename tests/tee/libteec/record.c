#include "record.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct line {
    char text[8192];
    size_t used;
};

static void put(struct line *line, char character)
{
    if (line->used + 1 < sizeof(line->text))
        line->text[line->used++] = character;
}

static void put_text(struct line *line, const char *text)
{
    while (*text != '\0')
        put(line, *text++);
}

static void put_string(struct line *line, const char *text)
{
    put(line, '"');
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        char escaped[8];

        if (byte == '"' || byte == '\\' || byte < 0x20) {
            snprintf(escaped, sizeof(escaped), "\\u%04x", byte);
            put_text(line, escaped);
        } else {
            put(line, *text);
        }
    }
    put(line, '"');
}

static void put_pair(struct line *line, const char *name, const char *value)
{
    put(line, line->used == 0 ? '{' : ',');
    put_string(line, name);
    put(line, ':');
    put_string(line, value);
}

/* One write of one line: several processes may append at once. */
static void append(const char *path, const struct line *line)
{
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

    if (file < 0)
        return;
    if (write(file, line->text, line->used) < 0)
        perror("test libteec: can't write its record");
    close(file);
}

void record(const char *event, ...)
{
    const char *path = getenv("TEST_TEE_LOG");
    struct line line = {.used = 0};
    char number[32];
    const char *name;
    va_list pairs;

    if (path == NULL)
        return;
    put_pair(&line, "event", event);
    snprintf(number, sizeof(number), "%ld", (long)getpid());
    put_pair(&line, "pid", number);
    va_start(pairs, event);
    while ((name = va_arg(pairs, const char *)) != NULL)
        put_pair(&line, name, va_arg(pairs, const char *));
    va_end(pairs);
    put(&line, '}');
    put(&line, '\n');
    append(path, &line);
}
