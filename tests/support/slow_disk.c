/* A disk that stalls or fails, preloaded into a program: while the file SLOW_DISK exists, calls on paths that contain its second or third
   word wait until it is gone (first word "stall") or fail with EIO ("fail"). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Whether the call fails; returns when the disk answers. */
static int fails(const char *path)
{
    const char *order = getenv("SLOW_DISK");
    for (;;) {
        char text[512] = "", verb[16] = "", part[256] = "", other[256] = "";
        FILE *file = order ? fopen(order, "re") : NULL;
        if (!file)
            return 0;
        size_t size = fread(text, 1, sizeof text - 1, file);
        fclose(file);
        text[size] = 0;
        int words = sscanf(text, "%15s %255s %255s", verb, part, other);
        if (words < 2 || !(strstr(path, part) || (words == 3 && strstr(path, other))))
            return 0;
        if (!strcmp(verb, "fail")) {
            errno = EIO;
            return 1;
        }
        struct timespec moment = {0, 10000000};
        nanosleep(&moment, NULL);
    }
}

static int descriptor_fails(int descriptor)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0)
        return 0;
    path[size] = 0;
    return fails(path);
}

int fsync(int descriptor)
{
    return descriptor_fails(descriptor) ? -1 : (int)syscall(SYS_fsync, descriptor);
}

ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t offset)
{
    return descriptor_fails(descriptor) ? -1 : syscall(SYS_pwrite64, descriptor, data, size, offset);
}

ssize_t pwrite(int descriptor, const void *data, size_t size, off_t offset)
{
    return pwrite64(descriptor, data, size, offset);
}

int unlink(const char *path)
{
    return fails(path) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}
