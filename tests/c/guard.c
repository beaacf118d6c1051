#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned long passed, failed;

void check_at(bool holds, const char *file, int line, const char *text, const char *name) {
    if (holds) {
        passed++;
        return;
    }
    /* One broken loop says the same a million times. */
    if (failed++ < 50) {
        fprintf(stderr, "%s:%d: not so: %s  [%s]\n", file, line, text, name);
    }
}

int check_report(void) {
    printf("%lu passed, %lu failed\n", passed, failed);
    return failed != 0 || passed == 0;
}

/* GUARD_MAX bytes with an unreadable page on both sides. */
static uint8_t *guarded(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *memory =
        mmap(NULL, GUARD_MAX + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED || mprotect(memory + page, GUARD_MAX, PROT_READ | PROT_WRITE) != 0) {
        perror("guard pages");
        exit(2);
    }
    return memory + page;
}

static uint8_t *place(uint8_t *at, const void *bytes, size_t len) {
    if (bytes && len) {
        memcpy(at, bytes, len);
    }
    return at;
}

uint8_t *guard_end(const void *bytes, size_t len) {
    static uint8_t *memory;

    if (!memory) {
        memory = guarded();
    }
    if (len > GUARD_MAX) {
        abort();
    }
    return place(memory + GUARD_MAX - len, bytes, len);
}

uint8_t *guard_begin(const void *bytes, size_t len) {
    static uint8_t *memory;

    if (!memory) {
        memory = guarded();
    }
    if (len > GUARD_MAX) {
        abort();
    }
    return place(memory, bytes, len);
}

uint64_t check_random(uint64_t *seed) {
    *seed += 0x9e3779b97f4a7c15u;
    uint64_t mixed = *seed;

    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}
