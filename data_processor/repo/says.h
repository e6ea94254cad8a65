/* says.h - what the words of `git` mean. Pure. Private to this room. */
#ifndef REPO_SAYS_H
#define REPO_SAYS_H

#include "err.h"

/* Turns the last lines of a failed `git clone` into an error: a code, a word for programs
 * (*ret_word, static) and a sentence about `url` that repeats nothing a server has said. */
int says_explain(const char *tail, int status, const char *url, const char **ret_word,
                 struct err *err);

#endif
