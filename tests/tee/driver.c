/*
 * A native client: loads the libteememca.so it is given and prints its figures, once or from
 * several threads at a time.  Run it under the name of the identity it shall have.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 16

typedef long long (*figure)(void);

static figure get_free;
static figure get_capacity;
static long rounds;

struct figures {
    long long free_kb;
    long long capacity_kb;
    long differing;
};

static figure find(void *library, const char *name)
{
    void *symbol = dlsym(library, name);
    figure function;

    if (symbol == NULL) {
        fprintf(stderr, "driver: %s\n", dlerror());
        exit(2);
    }
    memcpy(&function, &symbol, sizeof(function));
    return function;
}

static void *ask(void *argument)
{
    struct figures *figures = argument;

    figures->free_kb = get_free();
    figures->capacity_kb = get_capacity();
    for (long i = 1; i < rounds; i++)
        figures->differing +=
            get_free() != figures->free_kb || get_capacity() != figures->capacity_kb;
    return NULL;
}

static void print(const struct figures *figures)
{
    printf("%lld %lld %ld\n", figures->free_kb, figures->capacity_kb, figures->differing);
}

static int ask_from_threads(unsigned count)
{
    struct figures figures[MAX_THREADS] = {0};
    pthread_t threads[MAX_THREADS];

    /* One client is the main thread: a signal then finds no other thread to go to. */
    if (count == 1) {
        ask(&figures[0]);
        print(&figures[0]);
        return 0;
    }
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, ask, &figures[i]) != 0)
            return 2;
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        print(&figures[i]);
    }
    return 0;
}

/* driver LIBRARY [THREADS [ROUNDS]]: a line "free capacity differing" for each thread. */
int main(int count, char **arguments)
{
    unsigned threads = count > 2 ? (unsigned)strtoul(arguments[2], NULL, 10) : 1;
    void *library;

    if (count < 2 || threads == 0 || threads > MAX_THREADS)
        return 2;
    rounds = count > 3 ? strtol(arguments[3], NULL, 10) : 1;
    library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "driver: %s\n", dlerror());
        return 2;
    }
    get_free = find(library, "GetTeeFreeMem");
    get_capacity = find(library, "GetTeeCapacityMem");
    return ask_from_threads(threads);
}
