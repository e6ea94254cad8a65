/* program.c - see program.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs.h"
#include "program.h"

enum { ARGS_MAX = 16 };

char *said, *complained;
pid_t program_pid;
static char folder[] = "/tmp/segue-taskctl-XXXXXX";

static char *read_all(const char *path)
{
    char *text = NULL;

    assert_int_equal(fs_read_small(path, 64 << 20, &text, NULL), 0);
    return text;
}

static void become_taskctl(const char *const *args)
{
    const char *argv[ARGS_MAX + 2] = {"taskctl"};

    for (int i = 0; i < ARGS_MAX && args[i]; i++)
        argv[i + 1] = args[i];
    int in = open("in", O_RDONLY | O_CREAT, 0600);
    int out = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int err = open("err", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (dup2(in, 0) != 0 || dup2(out, 1) != 1 || dup2(err, 2) != 2)
        _exit(99);
    execv(TASKCTL_PATH, (char *const *)(uintptr_t)argv);
    _exit(99);
}

int program_run(const char *const *args)
{
    int status;

    free(said);
    free(complained);
    program_pid = fork();
    assert_true(program_pid >= 0);
    if (program_pid == 0)
        become_taskctl(args);
    assert_int_equal(waitpid(program_pid, &status, 0), program_pid);
    said = read_all("out");
    complained = read_all("err");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void file_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fs_write_all(fd, text, strlen(text), path, NULL), 0);
    close(fd);
}

void assert_file(const char *path, const char *want)
{
    char *text = read_all(path);

    assert_string_equal(text, want);
    free(text);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type;
    return ftw->level > 0 ? remove(path) : 0;
}

int folder_empty(void)
{
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int folder_count(void)
{
    int count = 0;
    DIR *dir = opendir(".");

    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    return count;
}

int folder_enter(void)
{
    return mkdtemp(folder) ? chdir(folder) : -1;
}

int folder_leave(void)
{
    free(said);
    free(complained);
    return folder_empty() == 0 && chdir("/") == 0 ? rmdir(folder) : -1;
}
