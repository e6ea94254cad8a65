#include "names.h"

#include <stdlib.h>
#include <string.h>

#include "sha256.h"

enum { HASH_BYTES = 16 };

/* 128 bits of each SHA-256; all zero: not known. */
struct entry {
    unsigned char name[HASH_BYTES], content[HASH_BYTES];
    uint64_t size;
};

static void read_hex(const char *hex, unsigned char ret[HASH_BYTES])
{
    for (int i = 0; i < HASH_BYTES; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        ret[i] = (unsigned char)strtoul(pair, NULL, 16);
    }
}

static int hash_name(const char *name, unsigned char ret[HASH_BYTES], struct err *err)
{
    char hex[SHA256_TEXT_MAX];
    int rc = sha256_hex(name, strlen(name), hex, err);

    if (!rc)
        read_hex(hex, ret);
    return rc;
}

static int by_name(const void *a, const void *b)
{
    return memcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name, HASH_BYTES);
}

int names_add(struct names *n, const char *name, uint64_t size, const char *sha256,
              struct err *err)
{
    struct entry e = {.size = size};
    int rc = hash_name(name, e.name, err);

    if (rc)
        return rc;
    if (*sha256)
        read_hex(sha256, e.content);
    buf_append(&n->entries, &e, sizeof e);
    return buf_ok(&n->entries) ? 0 : err_set(err, -E_NO_MEMORY, "no memory for names of files");
}

void names_sort(struct names *n)
{
    qsort(n->entries.data, n->entries.len / sizeof(struct entry), sizeof(struct entry),
          by_name);
}

static const struct entry *find(const struct names *n, const char *name)
{
    struct entry key;

    if (hash_name(name, key.name, NULL))
        return NULL;
    return bsearch(&key, n->entries.data, n->entries.len / sizeof key, sizeof key, by_name);
}

bool names_has(const struct names *n, const char *name)
{
    return find(n, name) != NULL;
}

bool names_size(const struct names *n, const char *name, uint64_t *ret_size)
{
    const struct entry *e = find(n, name);

    if (e)
        *ret_size = e->size;
    return e != NULL;
}

bool names_matches(const struct names *n, const char *name, uint64_t size, const char *sha256)
{
    static const unsigned char unknown[HASH_BYTES];
    unsigned char content[HASH_BYTES];
    const struct entry *e = find(n, name);

    read_hex(sha256, content);
    return e && e->size == size && memcmp(e->content, content, HASH_BYTES) == 0 &&
           memcmp(content, unknown, HASH_BYTES) != 0;
}
