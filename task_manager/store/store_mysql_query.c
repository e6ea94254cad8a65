/* store_mysql_query.c - statements with typed parameters and columns, as text.
 *
 * A statement is written into the connection's script, each `?` as a literal. What needs no
 * answer waits there and goes to the server together with the next one that does: a way there
 * and back costs more than most statements (a task that came alone took 25 ways from submit to
 * DONE, and takes 7; a prepared statement, whose parameters need no quoting, goes alone). */
#include "mysql_internal.h"

#include <assert.h>
#include <errmsg.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* When more than this is in the script it is sent: servers have a limit (max_allowed_packet).
 */
enum { SCRIPT_BYTES = 512 * 1024, SCRIPT_KEEP = 1024 * 1024 };

static const char *const statements[MY__COUNT] = {
#define S(name, sql) [MY_##name] = sql,
#define L(name, head, row, tail)
#include "mysql.def"
#undef S
#undef L
};

static const struct {
    const char *head, *row, *tail;
} lists[MY_LIST__COUNT] = {
#define S(name, sql)
#define L(name, head, row, tail) [MY_##name] = {head, row, tail},
#include "mysql.def"
#undef S
#undef L
};

/* -- begin -- */

/* What is there of a statement that was begun and left, goes. */
static void cut_script(struct my_conn *c)
{
    if (c->script.len == c->script_end)
        return;
    c->script.len = c->script_end;
    c->script.data[c->script.len] = '\0';
}

static void start(struct my_query *q, struct my_conn *c, const char *sql)
{
    *q = (struct my_query){.c = c, .at = sql, .row = "", .tail = ""};
    cut_script(c);
    if (c->script_end > 0)
        buf_append_str(&c->script, ";\n");
}

void my_begin(struct my_query *q, struct my_conn *c, enum my_stmt which)
{
    start(q, c, statements[which]);
}

void my_begin_sql(struct my_query *q, struct my_conn *c, const char *sql)
{
    start(q, c, sql);
}

size_t my_begin_rows(struct my_query *q, struct my_conn *c, enum my_list which, size_t left)
{
    size_t rows = left < MY_ROWS_MAX ? left : MY_ROWS_MAX;

    start(q, c, lists[which].head);
    q->row = lists[which].row;
    q->tail = lists[which].tail;
    q->rows_left = q->rows = rows;
    return rows;
}

/* -- parameters -- */

/* Goes on to the next piece of a statement over rows; false at its end. */
static bool next_piece(struct my_query *q)
{
    if (q->rows_left > 0) {
        if (q->rows_left < q->rows)
            buf_append_str(&q->c->script, ", ");
        q->rows_left--;
        q->at = q->row;
    } else {
        q->at = q->tail;
        q->tail = NULL;
    }
    return q->at != NULL;
}

/* Writes the statement up to its next parameter; false when there is none. */
static bool next_place(struct my_query *q)
{
    do {
        const char *place = strchr(q->at, '?');
        if (place) {
            buf_append(&q->c->script, q->at, (size_t)(place - q->at));
            q->at = place + 1;
            return true;
        }
        buf_append_str(&q->c->script, q->at);
    } while (next_piece(q));
    return false;
}

static struct buf *place(struct my_query *q)
{
    bool found = next_place(q);

    assert(found);
    (void)found;
    return &q->c->script;
}

void my_int(struct my_query *q, int64_t value)
{
    char digits[32];

    snprintf(digits, sizeof digits, "%" PRId64, value);
    buf_append_str(place(q), digits);
}

void my_real(struct my_query *q, double value)
{
    assert(isfinite(value));
    buf_printf(place(q), "%.17g", value);
}

static void quote(struct my_query *q, const char *text, size_t len)
{
    struct buf *b = place(q);

    if (!buf_reserve(b, 2 * len + 3))
        return; /* told when it is to be run */
    char *to = b->data + b->len;
    *to = '\'';
    size_t written = mysql_real_escape_string(q->c->my, to + 1, text, (unsigned long)len);
    to[1 + written] = '\'';
    b->len += written + 2;
    b->data[b->len] = '\0';
}

void my_text(struct my_query *q, const char *text)
{
    if (text)
        quote(q, text, strlen(text));
    else
        buf_append_str(place(q), "NULL");
}

void my_text_in(struct my_query *q, const char *text, size_t size)
{
    if (!text)
        text = "";
    quote(q, text, store_fit(text, size));
}

static void append_hex(struct buf *b, const void *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    if (!buf_reserve(b, 2 * len + 4))
        return;
    char *to = b->data + b->len;
    *to++ = 'x';
    *to++ = '\'';
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = ((const uint8_t *)bytes)[i];
        *to++ = digits[byte >> 4];
        *to++ = digits[byte & 15];
    }
    *to++ = '\'';
    *to = '\0';
    b->len += 2 * len + 3;
}

void my_bytes(struct my_query *q, const char *text)
{
    append_hex(place(q), text, strlen(text));
}

void my_id(struct my_query *q, const char *id)
{
    uint8_t bytes[ID_BYTES];

    id_to_bytes(id, bytes);
    append_hex(place(q), bytes, sizeof bytes);
}

void my_id_or_null(struct my_query *q, const char *id)
{
    if (id && id[0])
        my_id(q, id);
    else
        my_text(q, NULL);
}

/* -- outputs -- */

static struct my_out *next_out(struct my_query *q, enum my_out_kind kind, void *dest)
{
    assert(q->outs < MY_OUT_MAX);
    q->outputs[q->outs] = (struct my_out){.kind = kind, .dest = dest};
    return &q->outputs[q->outs++];
}

void my_out_int(struct my_query *q, int64_t *ret)
{
    next_out(q, MY_OUT_INT, ret);
}

void my_out_small(struct my_query *q, int *ret)
{
    next_out(q, MY_OUT_SMALL, ret);
}

void my_out_enum(struct my_query *q, int *ret, int below)
{
    next_out(q, MY_OUT_ENUM, ret)->below = below;
}

void my_out_real(struct my_query *q, double *ret)
{
    next_out(q, MY_OUT_REAL, ret);
}

void my_out_text(struct my_query *q, char *ret, size_t size)
{
    next_out(q, MY_OUT_TEXT, ret)->size = size;
}

void my_out_heap(struct my_query *q, char **ret)
{
    *ret = NULL;
    next_out(q, MY_OUT_HEAP, ret);
}

void my_out_id(struct my_query *q, char ret_id[ID_TEXT_MAX])
{
    next_out(q, MY_OUT_ID, ret_id);
}

/* -- the script -- */

void my_forget_script(struct my_conn *c)
{
    if (c->script.cap > SCRIPT_KEEP || !buf_ok(&c->script)) {
        buf_release(&c->script);
        buf_init(&c->script);
    }
    buf_clear(&c->script);
    c->script_end = 0;
    c->waiting_count = 0;
}

/* What the answer to a statement has to tell, before those behind it are looked at. */
static int take_answer(struct my_conn *c, const struct my_waiting *w, struct err *err)
{
    MYSQL_RES *rows = mysql_store_result(c->my);

    if (!rows && mysql_field_count(c->my) > 0)
        return my_fail(c, "send its rows", err);
    if (w->query) {
        assert(rows && mysql_num_fields(rows) == w->query->outs);
        w->query->res = rows;
    } else if (rows) {
        mysql_free_result(rows);
    }
    if (w->ret_id)
        *w->ret_id = (int64_t)mysql_insert_id(c->my);
    c->changes = (int64_t)mysql_affected_rows(c->my);
    if (w->expected >= 0 && c->changes != w->expected)
        return err_set(err, -E_BUG, "%" PRId64 " instead of %" PRId64 " locked rows changed",
                       c->changes, w->expected);
    return 0;
}

/* All answers are taken, also after a complaint of ours: else the connection could not be used
 * again. After one of the server's nothing comes any more. */
static int take_answers(struct my_conn *c, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < c->waiting_count; i++) {
        struct err why = ERR_INIT;
        int more = i == 0 ? 0 : mysql_next_result(c->my);
        if (more > 0)
            return my_fail(c, "run a statement", err);
        if (more < 0)
            return err_set(err, -E_BUG, "the database answered %zu of %zu statements", i,
                           c->waiting_count);
        int failed = take_answer(c, &c->waiting[i], &why);
        if (failed && !rc)
            rc = err_set(err, failed, "%s", why.text);
        if (failed && mysql_errno(c->my))
            return rc;
    }
    assert(!mysql_more_results(c->my));
    return rc;
}

int my_flush(struct my_conn *c, struct err *err)
{
    int rc = 0;

    if (c->waiting_count == 0)
        return 0;
    cut_script(c);
    if (!buf_ok(&c->script))
        rc = err_set(err, -E_NO_MEMORY, "no memory for a statement");
    else if (mysql_real_query(c->my, c->script.data, (unsigned long)c->script.len) != 0)
        rc = my_fail(c, "run a statement", err);
    else
        rc = take_answers(c, err);
    c->is_begun = c->in_transaction;
    my_forget_script(c);
    return rc;
}

/* Ends the statement; its answer is taken when the script has been sent. */
static void put(struct my_query *q, bool has_rows)
{
    struct my_conn *c = q->c;
    bool complete = !next_place(q);

    assert(complete && c->waiting_count < MY_WAITING_MAX);
    (void)complete;
    c->script_end = c->script.len;
    c->waiting[c->waiting_count++] =
        (struct my_waiting){.query = has_rows ? q : NULL,
                            .ret_id = q->ret_id,
                            .expected = q->expects ? q->expected : -1};
}

/* And sends it all when there is much of it; there is always room for one more. */
static int add(struct my_query *q, bool has_rows, struct err *err)
{
    struct my_conn *c = q->c;

    put(q, has_rows);
    return c->waiting_count == MY_WAITING_MAX || c->script.len > SCRIPT_BYTES ||
                   !buf_ok(&c->script)
               ? my_flush(c, err)
               : 0;
}

void my_queue(struct my_conn *c, const char *sql)
{
    struct my_query q;

    my_begin_sql(&q, c, sql);
    put(&q, false);
}

/* -- running -- */

int my_ask(struct my_query *q, struct err *err)
{
    return add(q, true, err);
}

int my_query_exec(struct my_query *q, struct err *err)
{
    int rc = add(q, q->outs > 0, err);

    return rc ? rc : my_flush(q->c, err);
}

static int damaged(struct err *err)
{
    return err_set(err, -E_CORRUPT, "the database holds a row that no program of ours wrote");
}

static int take_number(const struct my_out *o, const char *text, struct err *err)
{
    char *end;

    errno = 0;
    int64_t number = strtoll(text, &end, 10);
    if (errno || end == text || *end)
        return damaged(err);
    if (o->kind == MY_OUT_INT) {
        *(int64_t *)o->dest = number;
        return 0;
    }
    if (number < INT32_MIN || number > INT32_MAX)
        return damaged(err);
    if (o->kind == MY_OUT_ENUM && (number < 0 || number >= o->below))
        return damaged(err);
    *(int *)o->dest = (int)number;
    return 0;
}

static int take_real(const struct my_out *o, const char *text, struct err *err)
{
    char *end;

    *(double *)o->dest = strtod(text, &end);
    return end == text || *end ? damaged(err) : 0;
}

static int take_heap(const struct my_out *o, const char *text, size_t len, struct err *err)
{
    char *copy = malloc(len + 1);

    if (!copy)
        return err_set(err, -E_NO_MEMORY, "no memory for a text of %zu bytes", len);
    memcpy(copy, text, len);
    copy[len] = '\0';
    *(char **)o->dest = copy;
    return 0;
}

static int take_column(const struct my_out *o, const char *text, size_t len, struct err *err)
{
    if (!text) /* no other column of ours is NULL */
        return o->kind == MY_OUT_HEAP ? 0 : damaged(err);
    switch (o->kind) {
    case MY_OUT_INT:
    case MY_OUT_SMALL:
    case MY_OUT_ENUM:
        return take_number(o, text, err);
    case MY_OUT_REAL:
        return take_real(o, text, err);
    case MY_OUT_HEAP:
        return take_heap(o, text, len, err);
    case MY_OUT_TEXT:
        if (len >= o->size) /* nor wider than its field */
            return damaged(err);
        memcpy(o->dest, text, len);
        ((char *)o->dest)[len] = '\0';
        return 0;
    case MY_OUT_ID:
        if (len != ID_BYTES)
            return damaged(err);
        id_from_bytes((const uint8_t *)text, o->dest);
        return 0;
    }
    return 0;
}

static void clear_heap(struct my_query *q, bool release)
{
    for (unsigned i = 0; i < q->outs; i++) {
        if (q->outputs[i].kind != MY_OUT_HEAP)
            continue;
        char **text = q->outputs[i].dest;
        if (release)
            free(*text);
        *text = NULL;
    }
}

int my_next(struct my_query *q, struct err *err)
{
    clear_heap(q, false);
    MYSQL_ROW row = mysql_fetch_row(q->res);
    if (!row)
        return 0;
    const unsigned long *lens = mysql_fetch_lengths(q->res);

    int rc = 0;
    for (unsigned i = 0; i < q->outs && !rc; i++)
        rc = take_column(&q->outputs[i], row[i], lens[i], err);
    if (rc)
        clear_heap(q, true);
    return rc ? rc : 1;
}

int my_one(struct my_query *q, struct err *err)
{
    int rc = my_query_exec(q, err);

    if (!rc)
        rc = my_next(q, err);
    my_end(q);
    return rc;
}

void my_want_id(struct my_query *q, int64_t *ret)
{
    q->ret_id = ret;
}

void my_expect(struct my_query *q, int64_t changes)
{
    q->expects = true;
    q->expected = changes;
}

int my_run(struct my_query *q, int64_t *ret_changes, struct err *err)
{
    struct my_conn *c = q->c;
    int rc = add(q, false, err);

    if (!rc && (ret_changes || !c->in_transaction))
        rc = my_flush(c, err);
    if (!rc && ret_changes)
        *ret_changes = c->changes;
    return rc;
}

int my_clock(struct my_conn *c, struct err *err)
{
    struct my_query q;

    assert(c->in_transaction);
    if (c->has_clock)
        return 0;
    c->has_clock = true;
    my_begin(&q, c, MY_SET_CLOCK);
    return my_run(&q, NULL, err);
}

void my_end(struct my_query *q)
{
    if (q->res)
        mysql_free_result(q->res);
    q->res = NULL;
}
