#include "names.h"

#include <stdlib.h>
#include <string.h>

#include "sha256.h"

enum { HASH_BYTES = 16 };

/* As the hex digits say, two to a byte. */
static int hash_of(const char *name, unsigned char ret[HASH_BYTES], struct err *err)
{
    char hex[SHA256_TEXT_MAX];
    int rc = sha256_hex(name, strlen(name), hex, err);

    for (int i = 0; !rc && i < HASH_BYTES; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        ret[i] = (unsigned char)strtoul(pair, NULL, 16);
    }
    return rc;
}

static int by_hash(const void *a, const void *b)
{
    return memcmp(a, b, HASH_BYTES);
}

int names_add(struct names *n, const char *name, struct err *err)
{
    unsigned char hash[HASH_BYTES];
    int rc = hash_of(name, hash, err);

    if (rc)
        return rc;
    buf_append(&n->hashes, hash, sizeof hash);
    return buf_ok(&n->hashes) ? 0 : err_set(err, -E_NO_MEMORY, "no memory for names of files");
}

void names_sort(struct names *n)
{
    qsort(n->hashes.data, n->hashes.len / HASH_BYTES, HASH_BYTES, by_hash);
}

bool names_has(const struct names *n, const char *name)
{
    unsigned char hash[HASH_BYTES];

    return hash_of(name, hash, NULL) != 0 || /* in doubt nothing is deleted */
           bsearch(hash, n->hashes.data, n->hashes.len / HASH_BYTES, HASH_BYTES, by_hash);
}
