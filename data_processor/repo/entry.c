#include "entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tree.h"

enum { SHOWN_MAX = 120, NAME_BYTES_MAX = 255 };

static const struct {
    const char *mode, *type;
    enum entry_kind kind;
} kinds[] = {
    {"100644", "blob", ENTRY_FILE},   {"100755", "blob", ENTRY_FILE},
    {"100664", "blob", ENTRY_FILE},   {"120000", "blob", ENTRY_LINK},
    {"040000", "tree", ENTRY_FOLDER}, {"160000", "commit", ENTRY_MODULE},
};

/* A name from outside, for a sentence. */
static void show(const char *path, char ret[SHOWN_MAX])
{
    size_t n = 0;

    for (; *path && n < SHOWN_MAX - 1; path++)
        ret[n++] = (char)(*path < 0x20 || *path >= 0x7F ? '?' : *path);
    ret[n] = '\0';
}

static const char *name_fault(const char *name, size_t len)
{
    if (len == 0)
        return "an empty name";
    if (len > NAME_BYTES_MAX)
        return "a name of more than 255 bytes";
    if ((len == 1 && name[0] == '.') || (len == 2 && memcmp(name, "..", 2) == 0))
        return "a name that leads elsewhere";
    if (len == 4 && strncasecmp(name, ".git", 4) == 0)
        return "a name that is git's own";
    return NULL;
}

static int check_path(const char *path, const char **ret_word, struct err *err)
{
    const char *fault = strlen(path) > ENTRY_PATH_MAX ? "a path that is too long" : NULL;
    char shown[SHOWN_MAX];
    int depth = 0;

    for (const char *at = path; !fault;) {
        size_t len = strcspn(at, "/");
        fault = name_fault(at, len);
        if (!fault && ++depth > TREE_DEPTH_MAX)
            fault = "too many folders in folders";
        if (at[len] == '\0')
            break;
        at += len + 1;
    }
    if (!fault)
        return 0;
    show(path, shown);
    *ret_word = "bad_name";
    return err_set(err, -E_BAD_INPUT, "the repository has %s: '%s'", fault, shown);
}

/* Copies the next word, of at most size - 1 bytes, and returns what follows it, or NULL. */
static const char *next_word(const char *at, char *ret, size_t size)
{
    at += strspn(at, " ");
    size_t len = strcspn(at, " \t");
    if (len == 0 || len >= size)
        return NULL;
    memcpy(ret, at, len);
    ret[len] = '\0';
    return at + len;
}

static int set_kind(const char *mode, const char *type, struct entry *ret)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].mode, mode) == 0 && strcmp(kinds[i].type, type) == 0) {
            ret->kind = kinds[i].kind;
            return 0;
        }
    }
    return -1;
}

int entry_parse(const char *text, size_t len, struct entry *ret, const char **ret_word,
                struct err *err)
{
    char mode[8], type[8], size[24], *end = size;
    const char *at = text;

    memset(ret, 0, sizeof *ret);
    at = next_word(at, mode, sizeof mode);
    at = at ? next_word(at, type, sizeof type) : NULL;
    at = at ? next_word(at, ret->oid, sizeof ret->oid) : NULL;
    at = at ? next_word(at, size, sizeof size) : NULL;
    if (!at || *at != '\t' || set_kind(mode, type, ret) != 0 || text + len < at) {
        *ret_word = "damaged";
        return err_set(err, -E_BAD_INPUT, "the repository has an entry of an unknown kind");
    }
    ret->path = at + 1;
    if (ret->kind == ENTRY_FILE || ret->kind == ENTRY_LINK) {
        ret->size = strtoull(size, &end, 10);
        if (size[0] < '0' || size[0] > '9' || *end) {
            *ret_word = "damaged";
            return err_set(err, -E_BAD_INPUT, "the repository lacks an object");
        }
    }
    return check_path(ret->path, ret_word, err);
}
