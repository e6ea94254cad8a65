/* Any bytes, read by one thread and the plain scanner in tiny pieces, spilling as often as
 * can be, and by several threads with another scanner, compressed, through a pipe, in larger
 * pieces: the outcome must be the same to the byte. Three bytes choose sizes, threads and
 * scanner, and how the input arrives; the rest is the input (which may be compressed
 * already). */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csv_run.h"
#include "scan.h"

enum { HEAD = 3 };

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

/* The scanner of that number among those that run here; the plain one is the last. */
static const struct scanner *scanner_at(unsigned number)
{
    const struct scanner *found = NULL;
    unsigned count = 0;

    for (const struct scanner *s = scanners; s->name; s++)
        count += s->runs_here();
    number %= count;
    for (const struct scanner *s = scanners; !found; s++)
        if (s->runs_here() && number-- == 0)
            found = s;
    return found;
}

static const struct scanner *plain_scanner(void)
{
    const struct scanner *s = scanners;

    while (s[1].name)
        s++;
    return s;
}

/* What is compressed already is not compressed again: only one layer is taken off. */
static enum csv_packing packing_of(uint8_t choice, const uint8_t *data, size_t size)
{
    bool packed = size >= 2 && ((data[0] == 0x1F && data[1] == 0x8B) ||
                                (data[0] == 0x28 && data[1] == 0xB5));

    return packed ? CSV_PLAIN : (enum csv_packing)(choice % (CSV_ZSTD + 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned threads[] = {2, 3, 4, 5, 7, 7, 16, 64};
    static const size_t pipes[] = {0, 0, 0, 1, 10, 100, 4096, 0};

    if (size < HEAD)
        return 0;
    struct csv_plan tiny = csv_tiny_plan(1, 3 + data[0] % 61, data[0] & 64 ? 1 : 3000);
    struct csv_plan other =
        csv_tiny_plan(threads[data[1] & 7], data[0] & 128 ? 1 << 16 : 100, 1 << 20);
    if (data[1] & 128)
        other.block_bytes = 3 + data[2] % 61;
    if (data[1] & 64)
        other.table_bytes = 1;
    tiny.row_max = other.row_max = ROW_MAX_LEAST + data[0] % 7;
    tiny.scanner = plain_scanner();
    other.scanner = scanner_at(data[1] >> 3 & 7);
    size_t len;
    char *packed = csv_pack(packing_of(data[2], data + HEAD, size - HEAD),
                            (const char *)data + HEAD, size - HEAD, &len);
    struct csv_case a = {.data = (const char *)data + HEAD, .len = size - HEAD, .plan = &tiny};
    struct csv_case b = {
        .data = packed, .len = len, .plan = &other, .pipe_chunk = pipes[data[2] >> 5]};
    a.options.max_inflated_bytes = b.options.max_inflated_bytes = 1 << 20;
    for (int skip = 0; skip < 2; skip++) {
        struct csv_result one, many;
        a.options.skip_bad_rows = b.options.skip_bad_rows = skip;
        csv_run(&a, &one);
        csv_run(&b, &many);
        compare(&one, &many);
        check_again(&one);
        csv_result_release(&one);
        csv_result_release(&many);
    }
    free(packed);
    return 0;
}
