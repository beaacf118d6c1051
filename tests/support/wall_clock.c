/* Preloaded into a server: its wall clock is off by as many seconds as the file CLOCK_OFFSET
 * says in its first eight bytes. The monotonic clock is left alone.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void map_offset(void) {
    const char *path = getenv("CLOCK_OFFSET");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        void *shared = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);

        offset = shared == MAP_FAILED ? NULL : shared;
        close(fd);
    }
}

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);

    if (!real) {
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    }

    int result = real(which, now);

    if (result == 0 && offset && which == CLOCK_REALTIME) {
        now->tv_sec += *offset;
    }
    return result;
}

time_t time(time_t *now) {
    struct timespec wall;

    clock_gettime(CLOCK_REALTIME, &wall);
    if (now) {
        *now = wall.tv_sec;
    }
    return wall.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec wall;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &wall);
    now->tv_sec = wall.tv_sec;
    now->tv_usec = wall.tv_nsec / 1000;
    return 0;
}
