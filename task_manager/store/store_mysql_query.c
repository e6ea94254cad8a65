/* store_mysql_query.c - typed parameters and columns for prepared statements. */
#include "mysql_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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

static const size_t sizes[MY_SIZES] = {1, 4, 16, MY_ROWS_MAX};

/* -- begin -- */

static MYSQL_STMT *prepare(struct my_query *q, struct my_conn *c, const char *sql)
{
    MYSQL_STMT *st = mysql_stmt_init(c->my);

    if (!st) {
        q->rc = err_set(&q->why, -E_NO_MEMORY, "no memory for a statement");
    } else if (mysql_stmt_prepare(st, sql, (unsigned long)strlen(sql)) != 0) {
        q->rc = my_fail(c, st, "prepare a statement", &q->why);
        mysql_stmt_close(st);
        st = NULL;
    }
    return st;
}

static void start(struct my_query *q, struct my_conn *c)
{
    q->c = c;
    q->rc = 0;
    q->ins = q->outs = 0;
}

/* Makes room for all parameters at once: bound ones point into it. */
static void use(struct my_query *q, MYSQL_STMT *st)
{
    struct my_conn *c = q->c;

    q->st = st;
    if (!st || mysql_stmt_param_count(st) <= c->in_room)
        return;
    size_t room = mysql_stmt_param_count(st);
    free(c->in);
    free(c->values);
    c->in_room = 0;
    c->in = calloc(room, sizeof *c->in);
    c->values = calloc(room, sizeof *c->values);
    if (c->in && c->values)
        c->in_room = (unsigned)room;
    else
        q->rc = err_set(&q->why, -E_NO_MEMORY, "no memory for the parameters of a statement");
}

void my_begin(struct my_query *q, struct my_conn *c, enum my_stmt which)
{
    start(q, c);
    if (!c->stmts[which])
        c->stmts[which] = prepare(q, c, statements[which]);
    use(q, c->stmts[which]);
}

void my_begin_sql(struct my_query *q, struct my_conn *c, const char *sql)
{
    start(q, c);
    use(q, prepare(q, c, sql));
}

static void begin_list(struct my_query *q, struct my_conn *c, enum my_list which, size_t size)
{
    start(q, c);
    if (!c->lists[which][size]) {
        struct buf sql = BUF_INIT;
        buf_append_str(&sql, lists[which].head);
        for (size_t i = 0; i < sizes[size]; i++) {
            buf_append_str(&sql, i ? ", " : "");
            buf_append_str(&sql, lists[which].row);
        }
        buf_append_str(&sql, lists[which].tail);
        if (buf_ok(&sql))
            c->lists[which][size] = prepare(q, c, sql.data);
        else
            q->rc = err_set(&q->why, -E_NO_MEMORY, "no memory for a statement");
        buf_release(&sql);
    }
    use(q, c->lists[which][size]);
}

size_t my_begin_rows(struct my_query *q, struct my_conn *c, enum my_list which, size_t left)
{
    size_t size = MY_SIZES - 1;

    while (size > 0 && sizes[size] > left)
        size--;
    begin_list(q, c, which, size);
    return sizes[size];
}

size_t my_begin_padded(struct my_query *q, struct my_conn *c, enum my_list which, size_t left)
{
    size_t size = 0;

    while (size < MY_SIZES - 1 && sizes[size] < left)
        size++;
    begin_list(q, c, which, size);
    return sizes[size];
}

/* -- parameters -- */

/* The next parameter's place; NULL when the statement has failed already. */
static union my_value *next_value(struct my_query *q)
{
    if (q->rc)
        return NULL;
    assert(q->ins < q->c->in_room);
    return &q->c->values[q->ins];
}

/* The library reads parameters only, but its buffers are not const. */
static void bind_in(struct my_query *q, enum enum_field_types type, const void *bytes,
                    size_t len)
{
    union {
        const void *given;
        void *wanted;
    } at = {.given = bytes};

    if (q->rc)
        return;
    assert(q->ins < q->c->in_room);
    MYSQL_BIND *b = &q->c->in[q->ins++];
    memset(b, 0, sizeof *b);
    b->buffer_type = type;
    b->buffer = at.wanted;
    b->buffer_length = (unsigned long)len;
    b->length_value = (unsigned long)len;
    b->length = &b->length_value;
}

void my_int(struct my_query *q, int64_t value)
{
    union my_value *at = next_value(q);

    if (!at)
        return;
    at->number = value;
    bind_in(q, MYSQL_TYPE_LONGLONG, at, sizeof at->number);
}

void my_real(struct my_query *q, double value)
{
    union my_value *at = next_value(q);

    if (!at)
        return;
    at->real = value;
    bind_in(q, MYSQL_TYPE_DOUBLE, at, sizeof at->real);
}

void my_text(struct my_query *q, const char *text)
{
    bind_in(q, text ? MYSQL_TYPE_STRING : MYSQL_TYPE_NULL, text, text ? strlen(text) : 0);
}

void my_text_in(struct my_query *q, const char *text, size_t size)
{
    if (!text)
        text = "";
    bind_in(q, MYSQL_TYPE_STRING, text, store_fit(text, size));
}

void my_id(struct my_query *q, const char *id)
{
    union my_value *at = next_value(q);

    if (!at)
        return;
    id_to_bytes(id, at->id);
    bind_in(q, MYSQL_TYPE_BLOB, at, sizeof at->id);
}

void my_id_or_null(struct my_query *q, const char *id)
{
    if (id && id[0])
        my_id(q, id);
    else
        my_text(q, NULL);
}

/* -- outputs -- */

static struct my_out *next_out(struct my_query *q, enum my_out_kind kind, void *dest,
                               enum enum_field_types type, void *bytes, size_t size)
{
    assert(q->outs < MY_OUT_MAX);
    struct my_out *o = &q->outputs[q->outs];
    MYSQL_BIND *b = &q->out[q->outs++];

    memset(o, 0, sizeof *o);
    o->kind = kind;
    o->dest = dest;
    memset(b, 0, sizeof *b);
    b->buffer_type = type;
    b->buffer = bytes;
    b->buffer_length = (unsigned long)size;
    b->length = &o->len;
    b->is_null = &o->is_null;
    b->error = &o->is_cut;
    return o;
}

static struct my_out *out_number(struct my_query *q, enum my_out_kind kind, void *dest)
{
    return next_out(q, kind, dest, MYSQL_TYPE_LONGLONG, &q->outputs[q->outs].number,
                    sizeof(int64_t));
}

void my_out_int(struct my_query *q, int64_t *ret)
{
    out_number(q, MY_OUT_INT, ret);
}

void my_out_small(struct my_query *q, int *ret)
{
    out_number(q, MY_OUT_SMALL, ret);
}

void my_out_enum(struct my_query *q, int *ret, int below)
{
    out_number(q, MY_OUT_ENUM, ret)->below = below;
}

void my_out_real(struct my_query *q, double *ret)
{
    next_out(q, MY_OUT_REAL, ret, MYSQL_TYPE_DOUBLE, ret, sizeof *ret);
}

void my_out_text(struct my_query *q, char *ret, size_t size)
{
    next_out(q, MY_OUT_TEXT, ret, MYSQL_TYPE_STRING, ret, size - 1);
}

void my_out_heap(struct my_query *q, char **ret)
{
    next_out(q, MY_OUT_HEAP, ret, MYSQL_TYPE_STRING, NULL, 0);
}

void my_out_id(struct my_query *q, char ret_id[ID_TEXT_MAX])
{
    next_out(q, MY_OUT_ID, ret_id, MYSQL_TYPE_BLOB, q->outputs[q->outs].raw, ID_BYTES);
}

/* -- running -- */

int my_query_exec(struct my_query *q, struct err *err)
{
    if (q->rc)
        return err_set(err, q->rc, "%s", q->why.text);
    assert(mysql_stmt_param_count(q->st) == q->ins);
    if ((q->ins && mysql_stmt_bind_param(q->st, q->c->in) != 0) ||
        mysql_stmt_execute(q->st) != 0)
        return my_fail(q->c, q->st, "run a statement", err);
    if (q->outs &&
        (mysql_stmt_bind_result(q->st, q->out) != 0 || mysql_stmt_store_result(q->st) != 0))
        return my_fail(q->c, q->st, "send its rows", err);
    return 0;
}

static int fetch_heap(struct my_query *q, unsigned column, struct err *err)
{
    struct my_out *o = &q->outputs[column];
    char **ret = o->dest;
    MYSQL_BIND b = {0};
    unsigned long len = o->len;

    *ret = NULL;
    if (o->is_null)
        return 0;
    char *text = malloc(len + 1);
    if (!text)
        return err_set(err, -E_NO_MEMORY, "no memory for a text of %lu bytes", len);
    b.buffer_type = MYSQL_TYPE_STRING;
    b.buffer = text;
    b.buffer_length = len;
    b.length = &o->len;
    b.is_null = &o->is_null;
    b.error = &o->is_cut;
    if (len && mysql_stmt_fetch_column(q->st, &b, column, 0) != 0) {
        free(text);
        return my_fail(q->c, q->st, "send a long text", err);
    }
    text[len] = '\0';
    *ret = text;
    return 0;
}

static int damaged(struct err *err)
{
    return err_set(err, -E_CORRUPT, "the database holds a row that no program of ours wrote");
}

static int finish_number(const struct my_out *o, struct err *err)
{
    if (o->kind == MY_OUT_INT) {
        *(int64_t *)o->dest = o->number;
        return 0;
    }
    if (o->number < INT32_MIN || o->number > INT32_MAX)
        return damaged(err);
    if (o->kind == MY_OUT_ENUM && (o->number < 0 || o->number >= o->below))
        return damaged(err);
    *(int *)o->dest = (int)o->number;
    return 0;
}

static int finish_output(struct my_query *q, unsigned column, struct err *err)
{
    struct my_out *o = &q->outputs[column];

    if (o->kind == MY_OUT_HEAP)
        return fetch_heap(q, column, err);
    if (o->is_cut || o->is_null) /* no other column of ours is wider than its field, or NULL */
        return damaged(err);
    switch (o->kind) {
    case MY_OUT_INT:
    case MY_OUT_SMALL:
    case MY_OUT_ENUM:
        return finish_number(o, err);
    case MY_OUT_TEXT:
        ((char *)o->dest)[o->len] = '\0';
        return 0;
    case MY_OUT_ID:
        if (o->len != ID_BYTES)
            return damaged(err);
        id_from_bytes(o->raw, o->dest);
        return 0;
    case MY_OUT_REAL:
    case MY_OUT_HEAP:
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
    int got = mysql_stmt_fetch(q->st);
    if (got == MYSQL_NO_DATA)
        return 0;
    if (got != 0 && got != MYSQL_DATA_TRUNCATED)
        return my_fail(q->c, q->st, "send a row", err);

    int rc = 0;
    for (unsigned i = 0; i < q->outs && !rc; i++)
        rc = finish_output(q, i, err);
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

int my_run(struct my_query *q, int64_t *ret_changes, struct err *err)
{
    int rc = my_query_exec(q, err);

    if (!rc && ret_changes)
        *ret_changes = (int64_t)mysql_stmt_affected_rows(q->st);
    return rc;
}

void my_end(struct my_query *q)
{
    if (q->st)
        mysql_stmt_free_result(q->st);
}

void my_drop(struct my_query *q)
{
    if (q->st)
        mysql_stmt_close(q->st);
    q->st = NULL;
}
