#include "parquet_part.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parquet.h"
#include "sha256.h"
#include "text.h"
#include "utf8.h"

enum { NAME, CONTENT, SIZE, SHA256, COMMIT, COLUMNS };

/* A content up to this size is gathered, so that the writer can find it again in a dictionary;
 * a larger one goes through in pieces. */
enum { GATHER_BYTES = 1024 * 1024, PIECE_BYTES = 256 * 1024 };

static const struct parquet_column columns[COLUMNS] = {
    [NAME] = {"name", PARQUET_STRING, false},    [CONTENT] = {"content", PARQUET_BINARY, false},
    [SIZE] = {"size", PARQUET_INT64, false},     [SHA256] = {"sha256", PARQUET_STRING, false},
    [COMMIT] = {"commit", PARQUET_STRING, true},
};

struct part {
    struct objstore_put *put;
    struct parquet *file;
    uint64_t rows, bytes;
    char *buffer; /* GATHER_BYTES */
};

static int put_write(void *arg, const void *bytes, size_t len, struct err *err)
{
    return objstore_put_write(arg, bytes, len, err);
}

static int open_file(struct part *p, const struct job_context *context, const char *key,
                     struct err *err)
{
    struct parquet_options options = {.columns = columns,
                                      .column_count = COLUMNS,
                                      .threads = context->threads,
                                      .memory_bytes = context->memory_bytes,
                                      .temp_dir = objstore_temp_dir(context->store)};
    int rc = objstore_put_begin(context->store, key, &p->put, err);

    if (rc)
        return rc;
    return parquet_open(&options, &(struct parquet_sink){put_write, p->put}, &p->file, err);
}

int part_begin(const struct job_context *context, const char *key, struct part **ret,
               struct err *err)
{
    struct part *p = calloc(1, sizeof *p);

    if (p)
        p->buffer = malloc(GATHER_BYTES);
    int rc = p && p->buffer ? open_file(p, context, key, err)
                            : err_set(err, -E_NO_MEMORY, "no memory for a Parquet file");
    if (rc) {
        part_abort_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

void part_abort_free(struct part *p)
{
    if (!p)
        return;
    parquet_abort_free(p->file);
    objstore_put_abort_free(p->put);
    free(p->buffer);
    free(p);
}

int part_commit_free(struct part *p, struct artifact *ret, struct err *err)
{
    int rc = parquet_close_free(p->file, NULL, err);

    p->file = NULL;
    if (rc == 0) {
        rc = objstore_put_commit_free(p->put, ret, err);
        p->put = NULL;
    }
    part_abort_free(p);
    return rc;
}

uint64_t part_rows(const struct part *p)
{
    return p->rows;
}

uint64_t part_bytes(const struct part *p)
{
    return p->bytes;
}

static bool is_escape(const char *at)
{
    return at[0] == '%' && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2]);
}

size_t part_name(const char *name, char ret_text[PART_NAME_MAX])
{
    size_t len = strlen(name), at = 0, out = 0;
    bool is_text = utf8_is_valid(name, len);

    while (at < len) {
        size_t step = utf8_char(name + at, len - at);
        if (step > 0 && (is_text || !is_escape(name + at))) {
            memcpy(ret_text + out, name + at, step);
            out += step;
            at += step;
            continue;
        }
        snprintf(ret_text + out, 4, "%%%02X", (unsigned char)name[at++]);
        out += 3;
    }
    ret_text[out] = '\0';
    return out;
}

/* -- the content of one blob -- */

struct content {
    struct blob_reader *reader;
    struct sha256 hash;
    const struct blob *blob;
    uint64_t came;
    bool hashed; /* the blob's own digest is not known */
};

/* The next bytes, hashed if need be; *ret_got 0 at the end. */
static int read_piece(struct content *c, char *to, size_t size, size_t *ret_got,
                      struct err *err)
{
    int rc = blob_read(c->reader, to, size, ret_got, err);

    if (rc)
        return rc;
    c->came += *ret_got;
    return c->hashed ? sha256_add(&c->hash, to, *ret_got, err) : 0;
}

/* One byte more than there should be is asked for too, so that the end is seen, and with it
 * that the content is what the container has kept. */
static int check_end(struct content *c, struct err *err)
{
    char byte;
    size_t got = 0;
    int rc = c->came > c->blob->size ? 0 : read_piece(c, &byte, 1, &got, err);

    if (rc)
        return rc;
    if (c->came != c->blob->size)
        return err_set(err, -E_STALE, "it has another size than a moment ago");
    return 0;
}

static int put_gathered(struct part *p, struct content *c, struct err *err)
{
    size_t len = (size_t)c->blob->size, got = 1;
    int rc = 0;

    while (rc == 0 && got > 0 && c->came < len)
        rc = read_piece(c, p->buffer + c->came, len - (size_t)c->came, &got, err);
    if (rc == 0)
        rc = check_end(c, err);
    return rc ? rc : parquet_put_bytes(p->file, CONTENT, p->buffer, len, 1, err);
}

static int put_in_pieces(struct part *p, struct content *c, struct err *err)
{
    uint64_t len = c->blob->size;
    size_t got = 1;
    int rc = parquet_begin_large(p->file, CONTENT, len, err);

    while (rc == 0 && got > 0 && c->came < len) {
        size_t want = len - c->came < PIECE_BYTES ? (size_t)(len - c->came) : PIECE_BYTES;
        rc = read_piece(c, p->buffer, want, &got, err);
        if (rc == 0)
            rc = parquet_add_large(p->file, p->buffer, got, err);
    }
    if (rc == 0)
        rc = check_end(c, err);
    return rc ? rc : parquet_end_large(p->file, err);
}

static int put_content(struct part *p, struct content *c, char ret_sha256[SHA256_TEXT_MAX],
                       struct err *err)
{
    int rc = c->hashed ? sha256_init(&c->hash, err) : 0;

    if (rc)
        return rc;
    rc = c->blob->size <= GATHER_BYTES ? put_gathered(p, c, err) : put_in_pieces(p, c, err);
    if (rc == 0 && c->hashed)
        rc = sha256_end(&c->hash, ret_sha256, err);
    else
        memcpy(ret_sha256, c->blob->sha256, SHA256_TEXT_MAX);
    sha256_release(&c->hash);
    return rc;
}

static int put_row(struct part *p, const struct blob *blob, struct blob_reader *reader,
                   const char *commit, struct err *err)
{
    struct content content = {
        .reader = reader, .blob = blob, .hashed = blob->sha256[0] == '\0'};
    char text[PART_NAME_MAX], sha256[SHA256_TEXT_MAX] = "";
    size_t name_len = part_name(blob->name, text), commit_len = strlen(commit);
    int64_t size = (int64_t)blob->size;
    int rc = put_content(p, &content, sha256, err);

    if (rc == 0)
        rc = parquet_put_bytes(p->file, NAME, text, name_len, 1, err);
    if (rc == 0)
        rc = parquet_put_int64(p->file, SIZE, &size, 1, err);
    if (rc == 0)
        rc = parquet_put_bytes(p->file, SHA256, sha256, strlen(sha256), 1, err);
    if (rc == 0)
        rc = commit_len ? parquet_put_bytes(p->file, COMMIT, commit, commit_len, 1, err)
                        : parquet_put_null(p->file, COMMIT, 1, err);
    uint64_t row_bytes = name_len + blob->size + sizeof size + strlen(sha256) + commit_len;
    return rc ? rc : parquet_rows(p->file, 1, row_bytes, err);
}

static int named(const char *name, struct err *err)
{
    char excerpt[EXCERPT_MAX];

    excerpt_make(excerpt, name, strlen(name));
    return err_wrap(err, "blob '%s'", excerpt);
}

int part_add(struct part *p, struct container *c, const char *name, const char *commit,
             bool *ret_added, struct err *err)
{
    struct err why = ERR_INIT;
    struct blob_reader *reader = NULL;
    struct blob blob;
    int rc = container_get(c, name, &reader, &blob, &why);

    *ret_added = rc == 0;
    if (rc == -E_NOT_FOUND)
        return 0;
    if (rc == 0)
        rc = put_row(p, &blob, reader, commit, &why);
    blob_close(reader);
    if (rc == 0) {
        p->rows++;
        p->bytes += blob.size;
        return 0;
    }
    named(name, &why);
    if (why.code == -E_STALE) /* another attempt may find it at rest */
        why.code = -E_UNAVAILABLE;
    return err_set(err, why.code, "%s", why.text);
}
