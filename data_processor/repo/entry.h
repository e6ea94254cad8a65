/* entry.h - the entries of a repository, as `git ls-tree -r -t -z -l` lists them. Pure. Private
 * to this room. */
#ifndef REPO_ENTRY_H
#define REPO_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum { ENTRY_PATH_MAX = 3000, ENTRY_OID_MAX = 65 };

enum entry_kind { ENTRY_FILE, ENTRY_LINK, ENTRY_FOLDER, ENTRY_MODULE };

struct entry {
    enum entry_kind kind;
    char oid[ENTRY_OID_MAX];
    uint64_t size;    /* of a FILE or LINK */
    const char *path; /* within the text given */
};

/* "100644 blob <oid> <size>\t<path>", without the NUL behind it being part of len. -E_BAD_INPUT
 * for anything else, and for a path that could leave a folder it is written to or mean
 * something to git: empty, ".", "..", ".git" (in any case), absolute, too long, too deep. */
int entry_parse(const char *text, size_t len, struct entry *ret, const char **ret_word,
                struct err *err);

#endif
