/* A check is counted, and printed if it fails; the program goes on and ends non-zero. */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name says what was being tried, beside the place: a row of a table, a length, an offset. */
void check_at(bool holds, const char *file, int line, const char *text, const char *name);

#define CHECK(condition) check_at((condition), __FILE__, __LINE__, #condition, "")
#define CHECK_NAMED(condition, name) check_at((condition), __FILE__, __LINE__, #condition, (name))

/* Prints "N passed, M failed"; what main returns. */
int check_report(void);

/*
 * Memory that faults one byte past its end, or one byte before its beginning: len bytes copied from
 * bytes (or left as they are, if NULL), valid until the next call of the same function.
 */
#define GUARD_MAX ((size_t)1 << 18)
uint8_t *guard_end(const void *bytes, size_t len);
uint8_t *guard_begin(const void *bytes, size_t len);

/* Numbers that look random and are the same in each run. */
uint64_t check_random(uint64_t *seed);

#endif
