/* Preloaded by test_failed_sync.py: fsync and fdatasync of a write-ahead log fail with EIO while the
 * file that FAIL_SYNC names exists. If it holds a number, only so many calls fail, and it is removed
 * then. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int descriptor)
{
    char link[64], path[4096];
    const char *trigger = getenv("FAIL_SYNC");
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (!trigger || size < 4 || memcmp(path + size - 4, "-wal", 4))
        return 0;
    FILE *file = fopen(trigger, "r");
    if (!file)
        return 0;
    int left = 0;
    int counted = fscanf(file, "%d", &left) == 1;
    fclose(file);
    if (counted) {
        if (left <= 1)
            unlink(trigger);
        else if ((file = fopen(trigger, "w"))) {
            fprintf(file, "%d", left - 1);
            fclose(file);
        }
    }
    errno = EIO;
    return 1;
}

int fsync(int descriptor)
{
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");
    return fails(descriptor) ? -1 : real(descriptor);
}

int fdatasync(int descriptor)
{
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
    return fails(descriptor) ? -1 : real(descriptor);
}
