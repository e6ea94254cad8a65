/* git_env.h - the environment of a `git` process: all of its settings. Private to this room. */
#ifndef REPO_GIT_ENV_H
#define REPO_GIT_ENV_H

#include <stddef.h>

#include "git.h"

/* NULL-terminated, malloc'ed; NULL when memory is short. Holds the token: in the environment
 * only its owner can read it, which is where nothing else writes it down. */
char **git_env_new(const struct git_job *job);
void git_env_free(char **env);

#endif
