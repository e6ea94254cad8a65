/* Any bytes, read by one thread in tiny pieces with spilling after each row, and by three
 * threads in large ones from memory: the outcome must be the same to the byte. The first byte
 * chooses sizes; the rest is the input (compressed or not). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csv_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void differ(const char *what, const struct csv_result *a, const struct csv_result *b)
{
    fprintf(stderr, "%s differ:\n%d %s\n%s\n%s\n%d %s\n%s\n%s\n", what, a->rc, a->err.text,
            a->out, a->rejects, b->rc, b->err.text, b->out, b->rejects);
    abort();
}

static void compare(const struct csv_result *a, const struct csv_result *b)
{
    if (a->rc != b->rc || strcmp(a->err.text, b->err.text) != 0)
        differ("errors", a, b);
    if (a->rc != 0)
        return;
    if (a->out_len != b->out_len || memcmp(a->out, b->out, a->out_len) != 0)
        differ("outputs", a, b);
    if (a->rejects_len != b->rejects_len || memcmp(a->rejects, b->rejects, a->rejects_len) != 0)
        differ("rejects", a, b);
    if (a->stats.rows_in != b->stats.rows_in || a->stats.groups != b->stats.groups ||
        a->stats.rows_in != a->stats.rows_summed + a->stats.rows_rejected)
        differ("counts", a, b);
}

/* The totals of totals are these totals. */
static void check_again(const struct csv_result *r)
{
    struct csv_case c = {.data = r->out, .len = r->out_len, .options.threads = 1};
    struct csv_result again;

    if (r->rc != 0)
        return;
    csv_run(&c, &again);
    if (again.rc != 0 || again.out_len != r->out_len ||
        memcmp(again.out, r->out, r->out_len) != 0)
        differ("the output and its own totals", r, &again);
    csv_result_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct csv_plan tiny = csv_tiny_plan(1, 3 + data[0] % 61, data[0] & 64 ? 1 : 3000);
    struct csv_plan large = csv_tiny_plan(3, data[0] & 128 ? 1 << 16 : 100, 1 << 20);
    tiny.row_max = large.row_max = ROW_MAX_LEAST + data[0] % 7;
    struct csv_case c = {.data = (const char *)data + 1, .len = size - 1};
    c.options.max_inflated_bytes = 1 << 20;
    for (int skip = 0; skip < 2; skip++) {
        struct csv_result one, three;
        c.options.skip_bad_rows = skip;
        c.plan = &tiny;
        csv_run(&c, &one);
        c.plan = &large;
        csv_run(&c, &three);
        compare(&one, &three);
        if (one.rc == 0)
            check_again(&one);
        csv_result_release(&one);
        csv_result_release(&three);
    }
    return 0;
}
