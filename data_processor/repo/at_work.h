/* at_work.h - is a process group that says nothing at work? Private to this room. */
#ifndef REPO_AT_WORK_H
#define REPO_AT_WORK_H

#include <stdint.h>
#include <sys/types.h>

/* The processor time that the living processes of a group have had, from proc(5). */
int64_t group_cpu_ms(pid_t group);

#endif
