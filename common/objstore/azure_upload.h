/* azure_upload.h - bytes into a blob of Azure: in one request when there are few of them, else
 * in blocks that a last request puts together. Until then nothing of it can be seen.
 *
 * The id of a block tells its place and its content's digest, so a block that an earlier try
 * left is taken as it is, if it is the same. Azure forgets blocks after a week. Private to
 * this room. */
#ifndef OBJSTORE_AZURE_UPLOAD_H
#define OBJSTORE_AZURE_UPLOAD_H

#include "artifact.h"
#include "azure.h"
#include "id.h"

enum {
    AZURE_BLOCK_BYTES = 4 << 20,
    AZURE_BLOCKS_MAX = 50000,
    AZURE_BLOCK_ID_MAX = 56,
    AZURE_BLOCKS_AT_ONCE = 4
};

struct azure_target {
    struct azure *azure;
    const char *container;
    const char *blob;           /* escaped for the URL */
    const char *what;           /* for errors */
    bool must_be_new;           /* -E_EXISTS when there is such a blob */
    char token[TOKEN_TEXT_MAX]; /* with must_be_new: tells our blob from another's */
};

/* A blob on its way, of unknown size. */
struct azure_upload {
    struct azure_target target;
    size_t block_bytes;
    struct buf ids; /* of the blocks so far: AZURE_BLOCK_ID_MAX bytes each */
    size_t count;
    struct buf left; /* ids of the blocks that an earlier try left, sorted */
    bool asked;      /* for them */
};

void azure_upload_init(struct azure_upload *u, const struct azure_target *target);
void azure_upload_release(struct azure_upload *u);

/* The next block: AZURE_BLOCK_BYTES of them, but for the last. */
int azure_upload_block(struct azure_upload *u, const void *bytes, size_t len, struct err *err);
/* The same in two steps, for blocks that come in any order and from several threads: room for
 * the ids of the first `count` blocks; and a block, whose id goes to its place in `ids`. */
int azure_upload_reserve(struct azure_upload *u, size_t count, struct err *err);
int azure_upload_place(const struct azure_upload *u, size_t index, const void *bytes,
                       size_t len, char *ret_id, struct err *err);
/* Puts the blocks together. */
int azure_upload_commit(struct azure_upload *u, const char *sha256, struct err *err);

/* A whole small blob at once. */
int azure_upload_small(const struct azure_target *target, const void *bytes, size_t len,
                       const char *sha256, struct err *err);

/* The first `size` bytes of a file, whose digest is known, by one of these ways, several blocks
 * at a time. -E_IO when the file is shorter. */
int azure_upload_file(const struct azure_target *target, int fd, uint64_t size,
                      const char *sha256, struct err *err);

/* What a HEAD request tells of a blob. */
struct azure_facts {
    uint64_t size;
    char sha256[SHA256_TEXT_MAX]; /* "" when it is not noted */
    char token[TOKEN_TEXT_MAX];   /* the same */
    char etag[128];
    int64_t age_ms; /* since it was written, by the server's clock */
};

/* -E_NOT_FOUND. */
int azure_head_blob(const struct azure_target *target, struct azure_facts *ret,
                    struct err *err);
/* The same from the head of any answer about a blob; its size may be another's. */
void azure_read_facts(const struct http_answer *a, struct azure_facts *ret);

#endif
