/*
 * Runs a target once over each file that is named, and over each file of each folder: what a fuzzer
 * found stays found, without a fuzzer.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#define INPUT_MAX ((size_t)1 << 20)

static unsigned long runs;

static void run_file(const char *path) {
    static uint8_t bytes[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    size_t size;
    uint8_t *copy;

    if (!file) {
        perror(path);
        exit(2);
    }
    size = fread(bytes, 1, sizeof bytes, file);
    if (ferror(file) || size == sizeof bytes) {
        fprintf(stderr, "%s: cannot be read, or is too large\n", path);
        exit(2);
    }
    fclose(file);
    copy = exact_copy(bytes, size);
    if (getenv("REPLAY_VERBOSE")) {
        fprintf(stderr, "%s\n", path);
    }
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    runs++;
}

static void run(const char *path) {
    struct stat what;
    struct dirent *entry;
    DIR *folder;

    if (stat(path, &what) != 0) {
        perror(path);
        exit(2);
    }
    if (!S_ISDIR(what.st_mode)) {
        run_file(path);
        return;
    }
    folder = opendir(path);
    if (!folder) {
        perror(path);
        exit(2);
    }
    while ((entry = readdir(folder))) {
        char inner[4096];

        if (entry->d_name[0] == '.') {
            continue;
        }
        if (snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) >= (int)sizeof inner) {
            exit(2);
        }
        run(inner);
    }
    closedir(folder);
}

int main(int argc, char **argv) {
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        run(argv[i]);
    }
    printf("%lu inputs\n", runs);
    /* A folder that has gone must not look like success. */
    return runs == 0;
}
