/* files.h - from a bare clone to its files. Private to this room. */
#ifndef REPO_FILES_H
#define REPO_FILES_H

#include "git.h"
#include "repo.h"

/* Goes over all entries of the commit without reading any content: names, numbers and sizes
 * must be good and within the limits. Fills in what *ret counts. -E_BAD_INPUT, -E_TOO_BIG. */
int files_check(const struct git_job *job, const struct repo_options *options,
                struct repo_facts *ret, const char **ret_word, struct err *err);

/* Hands every file to the sink. facts: as files_check has counted. share: of the work that is
 * done already. */
int files_copy(const struct git_job *job, const struct repo_options *options, double share,
               const struct repo_sink *sink, const struct repo_facts *facts,
               const char **ret_word, struct err *err);

#endif
