/* container_azure_get.c - reading a blob on Azure. */
#include <stdlib.h>
#include <string.h>

#include "azure_range.h"
#include "container_azure.h"
#include "sha256.h"

struct azure_reader {
    struct blob_reader base;
    struct azure_place place;
    struct azure_facts facts;
    struct buf piece;
    size_t used;
    uint64_t fetched; /* end of the piece within the blob */
    struct sha256 hash;
    bool is_checked;
};

void azure_read_close(struct blob_reader *base)
{
    struct azure_reader *r = (struct azure_reader *)(void *)base;

    azure_place_release(&r->place);
    buf_release(&r->piece);
    sha256_release(&r->hash);
    free(r);
}

static int fetch(struct azure_reader *r, struct err *err)
{
    int rc = azure_read_range(&r->place.target, r->fetched, &r->facts, &r->piece, err);

    r->used = 0;
    if (!rc)
        r->fetched += r->piece.len;
    return rc;
}

int azure_get(struct container *c, const char *name, struct blob_reader **ret,
              struct blob *ret_blob, struct err *err)
{
    struct azure_reader *r = calloc(1, sizeof *r);

    if (!r)
        return err_set(err, -E_NO_MEMORY, "no memory to read a blob");
    r->base.container = c;
    buf_init(&r->piece);
    int rc = azure_place_init(&r->place, c, name, err);
    if (!rc)
        rc = sha256_init(&r->hash, err);
    if (!rc)
        rc = fetch(r, err);
    if (rc) {
        azure_read_close(&r->base);
        return rc;
    }
    if (ret_blob) {
        memcpy(ret_blob->name, name, strlen(name) + 1);
        ret_blob->size = r->facts.size;
        memcpy(ret_blob->sha256, r->facts.sha256, sizeof ret_blob->sha256);
    }
    *ret = &r->base;
    return 0;
}

static int check_digest(struct azure_reader *r, struct err *err)
{
    char found[SHA256_TEXT_MAX];
    int rc = r->is_checked ? 0 : sha256_end(&r->hash, found, err);

    if (rc || r->is_checked)
        return rc;
    r->is_checked = true;
    if (r->facts.sha256[0] == '\0' || strcmp(found, r->facts.sha256) == 0)
        return 0;
    return err_set(err, -E_CORRUPT, "%.300s is damaged", r->place.what.data);
}

int azure_read(struct blob_reader *base, void *to, size_t size, size_t *ret_got,
               struct err *err)
{
    struct azure_reader *r = (struct azure_reader *)(void *)base;
    int rc = 0;

    *ret_got = 0;
    if (size == 0)
        return 0;
    if (r->used == r->piece.len && r->fetched == r->facts.size)
        return check_digest(r, err);
    if (r->used == r->piece.len)
        rc = fetch(r, err);
    if (rc)
        return rc;
    size_t left = r->piece.len - r->used;
    size_t some = size < left ? size : left;
    memcpy(to, r->piece.data + r->used, some);
    r->used += some;
    *ret_got = some;
    return sha256_add(&r->hash, to, some, err);
}
