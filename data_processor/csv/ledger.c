#include "ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"
#include "writer.h"

static const struct {
    const char *code, *sentence;
} reasons[CSV_REASON__COUNT] = {
#define R(name, code, sentence) [CSV_REASON_##name] = {code, sentence},
    CSV_REASONS(R)
#undef R
};

const char *csv_reason_code(enum csv_reason reason)
{
    return reasons[reason].code;
}

static int keep(struct account *a, const struct reject *reject, uint64_t lines_before)
{
    if (a->reject_count == REJECTS_KEPT)
        return 0;
    if (a->reject_count == a->reject_room) {
        size_t room = a->reject_room ? 2 * a->reject_room : 4;
        struct reject *rejects = realloc(a->rejects, room * sizeof *rejects);
        if (!rejects)
            return -E_NO_MEMORY;
        a->rejects = rejects;
        a->reject_room = room;
    }
    a->rejects[a->reject_count] = *reject;
    a->rejects[a->reject_count++].line += lines_before;
    return 0;
}

int account_reject(struct account *a, const struct reject *reject)
{
    a->rejected[reject->reason]++;
    return keep(a, reject, 0);
}

void account_clear(struct account *a)
{
    struct reject *rejects = a->rejects;
    size_t room = a->reject_room;

    *a = (struct account){.rejects = rejects, .reject_room = room};
}

void account_release(struct account *a)
{
    free(a->rejects);
    *a = (struct account){0};
}

int ledger_enter(struct ledger *l, const struct account *a)
{
    l->sum.lines += a->lines_before;
    for (size_t i = 0; i < a->reject_count; i++) {
        int rc = keep(&l->sum, &a->rejects[i], l->sum.lines);
        if (rc)
            return rc;
    }
    l->failed = l->failed || (!l->skip && l->sum.reject_count > 0);
    l->sum.lines += a->lines;
    l->sum.rows += a->rows;
    for (size_t i = 0; i < CSV_REASON__COUNT; i++)
        l->sum.rejected[i] += a->rejected[i];
    return 0;
}

int ledger_error(const struct ledger *l, const struct columns *c, struct err *err)
{
    const struct reject *r = &l->sum.rejects[0];
    char where[EXCERPT_MAX + 16] = "", detail[80] = "", name[EXCERPT_MAX];

    columns_name(c, r->column, name);
    if (name[0])
        snprintf(where, sizeof where, ", column %s", name);
    if (r->reason == CSV_REASON_FIELD_COUNT)
        snprintf(detail, sizeof detail, " (%llu, the header has %zu)",
                 (unsigned long long)r->fields, c->count);
    return err_set(err, -E_BAD_INPUT, "line %llu%s: %s%s: \"%s\"",
                   (unsigned long long)(r->line + 1), where, reasons[r->reason].sentence,
                   detail, r->excerpt);
}

int ledger_write_rejects(const struct ledger *l, const struct columns *c, int fd,
                         struct err *err)
{
    struct buf out = BUF_INIT;

    buf_append_str(&out, "line,column,reason,excerpt\n");
    for (size_t i = 0; i < l->sum.reject_count; i++) {
        const struct reject *r = &l->sum.rejects[i];
        char name[EXCERPT_MAX];
        columns_name(c, r->column, name);
        buf_printf(&out, "%llu,", (unsigned long long)(r->line + 1));
        writer_field(&out, name, strlen(name));
        buf_printf(&out, ",%s,", csv_reason_code(r->reason));
        writer_field(&out, r->excerpt, strlen(r->excerpt));
        buf_append_char(&out, '\n');
    }
    int rc = buf_ok(&out) ? fs_write_all(fd, out.data, out.len, "rejects", err)
                          : err_set(err, -E_NO_MEMORY, "no memory to write the rejects");
    buf_release(&out);
    return rc;
}
