#include "azure_temp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container_name.h"
#include "local_walk.h"
#include "sha256.h"

enum { HOLD_TRIES = 10 };

static const char hold_prefix[] = "hold-";

/* Ours alone: others must not read what passes through, nor put links there. */
int azure_temp_make(const char *dir, struct err *err)
{
    struct stat st;

    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return err_set_errno(err, err_from_errno(errno), errno, "create folder '%s'", dir);
    if (lstat(dir, &st) != 0)
        return err_set_errno(err, err_from_errno(errno), errno, "look at '%s'", dir);
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
        return err_set(err, -E_IO, "'%s' is not a folder of this user's own", dir);
    return 0;
}

int azure_temp_open(const char *dir, struct err *err)
{
    char path[AZURE_TEMP_MAX + 16];
    int rc = azure_temp_make(dir, err);

    if (rc)
        return rc;
    snprintf(path, sizeof path, "%s/file-XXXXXX", dir);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, err_from_errno(errno), errno, "create a temporary file");
    unlink(path);
    return fd;
}

/* --- holds: files with a lock on them, by the key --- */

static int hold_path(const char *dir, const char *container, const char *key,
                     char ret_path[AZURE_TEMP_MAX * 2])
{
    char text[CONTAINER_NAME_MAX + ARTIFACT_KEY_MAX], hash[SHA256_TEXT_MAX];

    snprintf(text, sizeof text, "%s/%s", container, key);
    int rc = sha256_hex(text, strlen(text), hash, NULL);
    if (!rc)
        snprintf(ret_path, AZURE_TEMP_MAX * 2, "%s/%s%s", dir, hold_prefix, hash);
    return rc;
}

/* A sweep may unlink the file between our open and our lock. */
int azure_temp_hold(const char *dir, const char *container, const char *key)
{
    char path[AZURE_TEMP_MAX * 2];
    struct stat st;

    if (hold_path(dir, container, key, path))
        return -1;
    for (int tries = 0; tries < HOLD_TRIES; tries++) {
        int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
            return -1;
        if (flock(fd, LOCK_SH) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0)
            return fd;
        close(fd);
    }
    return -1;
}

bool azure_temp_is_held(const char *dir, const char *container, const char *key)
{
    char path[AZURE_TEMP_MAX * 2];

    if (hold_path(dir, container, key, path))
        return true;
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool held = flock(fd, LOCK_EX | LOCK_NB) != 0;
    if (!held)
        unlink(path);
    close(fd);
    return held;
}

int azure_temp_sweep(const char *dir, int64_t older_than_ms, struct err *err)
{
    int rc = azure_temp_make(dir, err);
    DIR *folder = rc ? NULL : opendir(dir);
    const struct dirent *entry;

    if (!folder)
        return rc ? rc : err_set_errno(err, -E_IO, errno, "read folder '%s'", dir);
    while ((entry = readdir(folder))) {
        if (strncmp(entry->d_name, hold_prefix, sizeof hold_prefix - 1) == 0)
            local_walk_sweep_file(dirfd(folder), entry->d_name, older_than_ms);
    }
    closedir(folder);
    return 0;
}
