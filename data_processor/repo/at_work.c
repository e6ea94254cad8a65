#include "at_work.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STAT_MAX = 1024, FIELD_GROUP = 5, FIELD_USER = 14, FIELD_SYSTEM = 15 };

/* pid (name) state ppid pgrp …: the name may hold anything, so fields count from the last
 * parenthesis. */
static int64_t ticks_of(const char *stat, pid_t group)
{
    const char *at = strrchr(stat, ')');
    int64_t ticks = 0;

    for (int field = 3; at && field <= FIELD_SYSTEM; field++) {
        at = strchr(at, ' ');
        if (!at)
            return 0;
        at++;
        if (field == FIELD_GROUP && strtol(at, NULL, 10) != (long)group)
            return 0;
        if (field == FIELD_USER || field == FIELD_SYSTEM)
            ticks += strtoll(at, NULL, 10);
    }
    return at ? ticks : 0;
}

int64_t group_cpu_ms(pid_t group)
{
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    char path[64], stat[STAT_MAX];
    int64_t ticks = 0;
    long per_s = sysconf(_SC_CLK_TCK);

    while (dir && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        snprintf(path, sizeof path, "/proc/%.20s/stat", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t len = fd < 0 ? -1 : read(fd, stat, sizeof stat - 1);
        if (fd >= 0)
            close(fd);
        if (len <= 0)
            continue;
        stat[len] = '\0';
        ticks += ticks_of(stat, group);
    }
    if (dir)
        closedir(dir);
    return per_s > 0 ? ticks * 1000 / per_s : 0;
}
