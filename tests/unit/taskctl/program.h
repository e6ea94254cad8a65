/* program.h - running the built taskctl in a folder of its own. */
#ifndef TESTS_TASKCTL_PROGRAM_H
#define TESTS_TASKCTL_PROGRAM_H

#include <sys/types.h>

/* Of the last run: its stdout, its stderr; its pid while it runs. */
extern char *said, *complained;
extern pid_t program_pid;

/* Makes a folder, goes there; leaves and removes it. 0 or -1. */
int folder_enter(void);
int folder_leave(void);
int folder_empty(void);
int folder_count(void); /* files; every run leaves in, out and err */

/* Arguments up to a NULL; stdin is the file "in". The exit code, -1 for death by signal. */
int program_run(const char *const *args);
#define RUN(...) program_run((const char *const[]){__VA_ARGS__, NULL})

void file_write(const char *path, const char *text);
void assert_file(const char *path, const char *want);

#endif
