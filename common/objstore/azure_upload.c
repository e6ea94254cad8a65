#include "azure_upload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "azure_list.h"
#include "azure_xml.h"
#include "sha256.h"

enum { ID_PLAIN_MAX = 42, ID_DIGEST_CHARS = 32 };

void azure_upload_init(struct azure_upload *u, const struct azure_target *target)
{
    *u = (struct azure_upload){
        .target = *target, .block_bytes = AZURE_BLOCK_BYTES, .ids = BUF_INIT, .left = BUF_INIT};
}

void azure_upload_release(struct azure_upload *u)
{
    buf_release(&u->ids);
    buf_release(&u->left);
}

/* Is the blob that is there the one that a try of ours has put, whose answer got lost? */
static int settle_conflict(const struct azure_target *t, const char *sha256, struct err *err)
{
    struct azure_facts facts;
    int rc = azure_head_blob(t, &facts, err);

    if (rc)
        return rc;
    if (strcmp(facts.token, t->token) == 0 && strcmp(facts.sha256, sha256) == 0)
        return 0;
    return err_set(err, -E_EXISTS, "%.300s exists already", t->what);
}

/* Sends what makes the blob visible. A repeat finds the same blob and does no harm, unless it
 * has to be new. */
static int send_last(const struct azure_target *t, const struct azure_request *r,
                     const char *sha256, struct err *err)
{
    struct http_answer answer;
    int rc = azure_call(t->azure, r, &answer, NULL, err);

    if (!rc && t->must_be_new && (answer.status == 409 || answer.status == 412))
        rc = settle_conflict(t, sha256, err);
    else if (!rc && answer.status != 201)
        rc = azure_unexpected(r, &answer, err);
    http_answer_release(&answer);
    return rc;
}

int azure_upload_small(const struct azure_target *t, const void *bytes, size_t len,
                       const char *sha256, struct err *err)
{
    char md5[MD5_BASE64_MAX];
    int rc = azure_md5_base64(bytes, len, md5, err);
    const struct azure_pair headers[] = {
        {"x-ms-blob-type", "BlockBlob"},
        {"x-ms-meta-sha256", sha256},
        {"x-ms-meta-put", t->must_be_new ? t->token : NULL},
        {"If-None-Match", t->must_be_new ? "*" : NULL},
        {"Content-MD5", md5},
        {NULL, NULL},
    };
    const struct azure_request r = {.method = "PUT",
                                    .container = t->container,
                                    .blob = t->blob,
                                    .headers = headers,
                                    .body = bytes,
                                    .body_len = len};

    return rc ? rc : send_last(t, &r, sha256, err);
}

/* --- blocks --- */

static int make_id(size_t index, const void *bytes, size_t len, char ret_id[AZURE_BLOCK_ID_MAX],
                   struct err *err)
{
    char digest[SHA256_TEXT_MAX], plain[ID_PLAIN_MAX];
    int rc = sha256_hex(bytes, len, digest, err);

    if (rc)
        return rc;
    int plain_len =
        snprintf(plain, sizeof plain, "%06zu-%.*s", index % 1000000, ID_DIGEST_CHARS, digest);
    azure_base64_encode(plain, (size_t)plain_len, ret_id);
    return 0;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void read_left(const struct http_answer *answer, struct buf *left)
{
    struct xml_part rest = {answer->body.data, answer->body.data + answer->body.len}, part;

    while (xml_find(&rest, "Block", &part, &rest)) {
        char id[AZURE_BLOCK_ID_MAX] = "";
        struct xml_part name;
        if (xml_find(&part, "Name", &name, NULL) && xml_text(&name, id, sizeof id))
            buf_append(left, id, sizeof id);
    }
    qsort(left->data, left->len / AZURE_BLOCK_ID_MAX, AZURE_BLOCK_ID_MAX, by_id);
}

static int ask_for_left(const struct azure_target *t, struct buf *left, struct err *err)
{
    const struct azure_pair query[] = {
        {"comp", "blocklist"}, {"blocklisttype", "uncommitted"}, {NULL, NULL}};
    const struct azure_request r = {
        .method = "GET", .container = t->container, .blob = t->blob, .query = query};
    struct http_answer answer;
    int rc = azure_call(t->azure, &r, &answer, NULL, err);

    if (!rc && answer.status == 200)
        read_left(&answer, left);
    else if (!rc && (answer.status != 404 || azure_code_is(&answer, "ContainerNotFound")))
        rc = azure_unexpected(&r, &answer, err);
    http_answer_release(&answer);
    if (!rc && !buf_ok(left))
        rc = err_set(err, -E_NO_MEMORY, "no memory to upload a file");
    return rc;
}

static int send_block(const struct azure_target *t, const char *id, const void *bytes,
                      size_t len, struct err *err)
{
    char md5[MD5_BASE64_MAX];
    int rc = azure_md5_base64(bytes, len, md5, err);
    const struct azure_pair query[] = {{"comp", "block"}, {"blockid", id}, {NULL, NULL}};
    const struct azure_pair headers[] = {{"Content-MD5", md5}, {NULL, NULL}};
    const struct azure_request r = {.method = "PUT",
                                    .container = t->container,
                                    .blob = t->blob,
                                    .query = query,
                                    .headers = headers,
                                    .body = bytes,
                                    .body_len = len};
    struct http_answer answer;

    if (rc)
        return rc;
    rc = azure_call(t->azure, &r, &answer, NULL, err);
    if (!rc && answer.status != 201)
        rc = azure_unexpected(&r, &answer, err);
    http_answer_release(&answer);
    return rc;
}

/* One block, unless an earlier try has left it. */
static int bring_block(const struct azure_target *t, const struct buf *left, size_t index,
                       const void *bytes, size_t len, char ret_id[AZURE_BLOCK_ID_MAX],
                       struct err *err)
{
    int rc = make_id(index, bytes, len, ret_id, err);

    if (rc)
        return rc;
    if (bsearch(ret_id, left->data, left->len / AZURE_BLOCK_ID_MAX, AZURE_BLOCK_ID_MAX, by_id))
        return 0;
    return send_block(t, ret_id, bytes, len, err);
}

int azure_upload_reserve(struct azure_upload *u, size_t count, struct err *err)
{
    const char none[AZURE_BLOCK_ID_MAX] = "";

    if (count > AZURE_BLOCKS_MAX)
        return err_set(err, -E_TOO_BIG, "%.300s has more than %d blocks of %zu bytes",
                       u->target.what, AZURE_BLOCKS_MAX, u->block_bytes);
    for (; u->count < count; u->count++)
        buf_append(&u->ids, none, sizeof none);
    if (!buf_ok(&u->ids))
        return err_set(err, -E_NO_MEMORY, "no memory to upload a file");
    int rc = u->asked ? 0 : ask_for_left(&u->target, &u->left, err);
    u->asked = true;
    return rc;
}

int azure_upload_place(const struct azure_upload *u, size_t index, const void *bytes,
                       size_t len, char *ret_id, struct err *err)
{
    return bring_block(&u->target, &u->left, index, bytes, len, ret_id, err);
}

int azure_upload_block(struct azure_upload *u, const void *bytes, size_t len, struct err *err)
{
    size_t index = u->count;
    int rc = azure_upload_reserve(u, index + 1, err);

    return rc ? rc
              : azure_upload_place(u, index, bytes, len,
                                   u->ids.data + index * AZURE_BLOCK_ID_MAX, err);
}

/* "Latest": a repeat finds the blocks among those of the blob that it has made already. */
static void append_list(struct buf *out, const char *ids, size_t count)
{
    buf_append_str(out, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "<Latest>%s</Latest>", ids + i * AZURE_BLOCK_ID_MAX);
    buf_append_str(out, "</BlockList>");
}

static int commit_blocks(const struct azure_target *t, const char *ids, size_t count,
                         const char *sha256, struct err *err)
{
    struct buf list = BUF_INIT;
    const struct azure_pair query[] = {{"comp", "blocklist"}, {NULL, NULL}};
    const struct azure_pair headers[] = {
        {"x-ms-meta-sha256", sha256},
        {"x-ms-meta-put", t->must_be_new ? t->token : NULL},
        {"If-None-Match", t->must_be_new ? "*" : NULL},
        {NULL, NULL},
    };

    append_list(&list, ids, count);
    const struct azure_request r = {.method = "PUT",
                                    .container = t->container,
                                    .blob = t->blob,
                                    .query = query,
                                    .headers = headers,
                                    .body = list.data,
                                    .body_len = list.len};
    int rc = buf_ok(&list) ? send_last(t, &r, sha256, err)
                           : err_set(err, -E_NO_MEMORY, "no memory to upload a file");
    buf_release(&list);
    return rc;
}

int azure_upload_commit(struct azure_upload *u, const char *sha256, struct err *err)
{
    return commit_blocks(&u->target, u->ids.data, u->count, sha256, err);
}

/* --- what is there --- */

void azure_read_facts(const struct http_answer *a, struct azure_facts *ret)
{
    char text[64];
    int64_t now_ms, written_ms;

    *ret = (struct azure_facts){.size = 0};
    if (http_answer_field(a, "Content-Length", text, sizeof text))
        ret->size = strtoull(text, NULL, 10);
    if (http_answer_field(a, "Last-Modified", text, sizeof text) &&
        azure_parse_date(text, &written_ms) &&
        http_answer_field(a, "Date", text, sizeof text) && azure_parse_date(text, &now_ms))
        ret->age_ms = now_ms > written_ms ? now_ms - written_ms : 0;
    http_answer_field(a, "x-ms-meta-sha256", ret->sha256, sizeof ret->sha256);
    if (strspn(ret->sha256, "0123456789abcdef") != SHA256_TEXT_MAX - 1)
        ret->sha256[0] = '\0';
    http_answer_field(a, "x-ms-meta-put", ret->token, sizeof ret->token);
    http_answer_field(a, "ETag", ret->etag, sizeof ret->etag);
}

int azure_head_blob(const struct azure_target *t, struct azure_facts *ret, struct err *err)
{
    const struct azure_request r = {
        .method = "HEAD", .container = t->container, .blob = t->blob};
    struct http_answer answer;
    int rc = azure_call(t->azure, &r, &answer, NULL, err);

    if (!rc && answer.status == 404 && !azure_code_is(&answer, "ContainerNotFound"))
        rc = err_set(err, -E_NOT_FOUND, "there is no %.300s", t->what);
    else if (!rc && answer.status != 200)
        rc = azure_unexpected(&r, &answer, err);
    if (!rc)
        azure_read_facts(&answer, ret);
    http_answer_release(&answer);
    return rc;
}
