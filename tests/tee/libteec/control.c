#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "record.h"

const char *const call_names[CALLS] = {"load", "init", "open", "invoke", "close", "finalize"};

static const struct control defaults = {
    .strict = true,
    .ta_present = true,
    .total_bytes = 1ULL << 30,
    .free_bytes = 768ULL << 20,
    .mem_unit = 1,
    .record_bytes = 64,
    .heap_bytes = 200ULL << 10,
    .heap_free_bytes = 190ULL << 10,
    .uuid = "e3d37f4a-f24c-48d0-8884-3bdd6c44e988",
};

/* A test that misspells a key must not go on as if it had said nothing. */
static void refuse(const char *what)
{
    fprintf(stderr, "test libteec: TEST_TEE_STATE: %s\n", what);
    record("bad_state", "why", what, (char *)NULL);
    _exit(99);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 0);

    if (end == text || *end != '\0')
        refuse(text);
    return value;
}

static enum call call_of(const char *name)
{
    for (int call = 0; call < CALLS; call++)
        if (strcmp(call_names[call], name) == 0)
            return (enum call)call;
    refuse(name);
    return CALLS;
}

/* hang | crash | slow:MILLISECONDS | exit:STATUS | errno:NUMBER | result:CODE[:ORIGIN] */
static struct fault fault_of(char *text)
{
    static const struct {
        const char *name;
        enum fault_kind kind;
    } kinds[] = {
        {"result", FAULT_RESULT}, {"errno", FAULT_ERRNO}, {"hang", FAULT_HANG}, {"crash", FAULT_CRASH},
        {"slow", FAULT_SLOW},     {"exit", FAULT_EXIT},
    };
    struct fault fault = {.origin = 3};
    char *rest = NULL;
    const char *name = strtok_r(text, ":", &rest);
    const char *value = strtok_r(NULL, ":", &rest);
    const char *origin = strtok_r(NULL, ":", &rest);

    for (size_t i = 0; name != NULL && i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0)
            fault.kind = kinds[i].kind;
    if (fault.kind == FAULT_NONE)
        refuse("an unknown fault");
    if (fault.kind == FAULT_EXIT)
        fault.value = 255;
    if (value != NULL)
        fault.value = (uint32_t)number(value);
    if (origin != NULL)
        fault.origin = (uint32_t)number(origin);
    return fault;
}

/* CALL:FAULT[,CALL:FAULT …]; a later one for the same call replaces the earlier. */
static void set_faults(struct control *control, char *text)
{
    char *rest = NULL;

    for (char *one = strtok_r(text, ",", &rest); one != NULL; one = strtok_r(NULL, ",", &rest)) {
        char *colon = strchr(one, ':');

        if (colon == NULL)
            refuse(one);
        *colon = '\0';
        control->faults[call_of(one)] = fault_of(colon + 1);
    }
}

static bool set_override(struct control *control, const char *key, const char *value)
{
    const struct {
        const char *key;
        struct override *override;
    } overrides[] = {
        {"totalram", &control->totalram},       {"freeram", &control->freeram},
        {"reply_size", &control->reply_size},   {"reply_unit", &control->reply_unit},
        {"reply_total", &control->reply_total}, {"reply_free", &control->reply_free},
    };

    for (size_t i = 0; i < sizeof(overrides) / sizeof(overrides[0]); i++) {
        if (strcmp(overrides[i].key, key) == 0) {
            *overrides[i].override = (struct override){.set = true, .value = number(value)};
            return true;
        }
    }
    return false;
}

static void set(struct control *control, const char *key, char *value)
{
    if (strcmp(key, "strict") == 0)
        control->strict = number(value) != 0;
    else if (strcmp(key, "anybody") == 0)
        control->anybody = number(value) != 0;
    else if (strcmp(key, "ta_present") == 0)
        control->ta_present = number(value) != 0;
    else if (strcmp(key, "total_bytes") == 0)
        control->total_bytes = number(value);
    else if (strcmp(key, "free_bytes") == 0)
        control->free_bytes = number(value);
    else if (strcmp(key, "mem_unit") == 0)
        control->mem_unit = (uint32_t)number(value);
    else if (strcmp(key, "sysinfo_result") == 0)
        control->sysinfo_result = (int)strtol(value, NULL, 0);
    else if (strcmp(key, "record") == 0)
        control->record_bytes = (uint32_t)number(value);
    else if (strcmp(key, "heap_bytes") == 0)
        control->heap_bytes = number(value);
    else if (strcmp(key, "heap_free_bytes") == 0)
        control->heap_free_bytes = number(value);
    else if (strcmp(key, "uuid") == 0)
        snprintf(control->uuid, sizeof(control->uuid), "%s", value);
    else if (strcmp(key, "fault") == 0)
        set_faults(control, value);
    else if (!set_override(control, key, value))
        refuse(key);
}

static void read_line(struct control *control, char *line)
{
    char *equals;

    line[strcspn(line, "\r\n")] = '\0';
    if (line[0] == '\0' || line[0] == '#')
        return;
    equals = strchr(line, '=');
    if (equals == NULL)
        refuse(line);
    *equals = '\0';
    set(control, line, equals + 1);
}

void read_control(struct control *control)
{
    const char *path = getenv("TEST_TEE_STATE");
    char line[1024];
    FILE *file;

    *control = defaults;
    if (path == NULL)
        return;
    file = fopen(path, "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL)
        read_line(control, line);
    fclose(file);
    if (control->record_bytes != 56 && control->record_bytes != 64)
        refuse("record is 56 or 64");
}
