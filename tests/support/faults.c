/* Preloaded into the program under test: lets its wall clock step and its fsync stall or fail, as the file named by FAULTS says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct faults { /* the layout that tests/support/faults.py writes */
    volatile int64_t clock_offset_ns;
    volatile int64_t fsync_sleep_ns;
    volatile int64_t fsync_errno;
};

static const struct faults none, *faults = &none;

__attribute__((constructor)) static void map_faults(void) {
    const char *path = getenv("FAULTS");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof(struct faults), PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) faults = page;
    close(fd);
}

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, now);
    if (!failed && id == CLOCK_REALTIME && faults->clock_offset_ns) {
        int64_t ns = now->tv_nsec + faults->clock_offset_ns % 1000000000;
        now->tv_sec += faults->clock_offset_ns / 1000000000 + (ns >= 1000000000) - (ns < 0);
        now->tv_nsec = (ns + 1000000000) % 1000000000;
    }
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *seconds) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds) *seconds = now.tv_sec;
    return now.tv_sec;
}

static int faulty(int fd, const char *name) {
    int64_t sleep_ns = faults->fsync_sleep_ns;
    if (sleep_ns) {
        struct timespec left = {sleep_ns / 1000000000, sleep_ns % 1000000000};
        while (nanosleep(&left, &left) == -1 && errno == EINTR);
    }
    if (faults->fsync_errno) {
        errno = (int)faults->fsync_errno;
        return -1;
    }
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fsync(int fd) { return faulty(fd, "fsync"); }
int fdatasync(int fd) { return faulty(fd, "fdatasync"); }
