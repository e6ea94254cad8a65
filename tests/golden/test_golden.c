/* Every case of this folder, read in every way: the outcome must be the same bytes. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "csv_run.h"

struct text {
    char *data; /* NULL: no such file */
    size_t len;
};

static struct text read_file(const char *name, const char *ending)
{
    char path[512];
    struct text t = {0};

    snprintf(path, sizeof path, GOLDEN_DIR "/%s%s", name, ending);
    FILE *f = fopen(path, "rb");
    if (!f)
        return t;
    struct stat st;
    assert_int_equal(fstat(fileno(f), &st), 0);
    t.len = (size_t)st.st_size;
    t.data = calloc(1, t.len + 1);
    assert_non_null(t.data);
    assert_int_equal(fread(t.data, 1, t.len, f), t.len);
    fclose(f);
    return t;
}

static void drop_line_end(struct text *t)
{
    if (t->data)
        t->data[strcspn(t->data, "\n")] = '\0';
}

struct golden {
    const char *name;
    struct text input, output, error, skip_output, skip_error, rejects;
};

static void same_bytes(const struct golden *g, const char *how, const struct text *due,
                       const char *got, size_t got_len)
{
    if (got_len != due->len || memcmp(got, due->data, due->len) != 0)
        fail_msg("%s (%s):\n%s\nexpected:\n%s", g->name, how, got, due->data);
}

static void check(const struct golden *g, const char *how, bool skip,
                  const struct csv_result *r)
{
    const struct text *due = skip && g->error.data ? &g->skip_output : &g->output;

    if (!due->data) {
        const char *error = skip && g->skip_error.data ? g->skip_error.data : g->error.data;
        if (r->rc != -E_BAD_INPUT || !strstr(r->err.text, error))
            fail_msg("%s (%s): got %d \"%s\", expected \"%s\"", g->name, how, r->rc,
                     r->err.text, error);
        return;
    }
    if (r->rc != 0)
        fail_msg("%s (%s): %s", g->name, how, r->err.text);
    same_bytes(g, how, due, r->out, r->out_len);
    if (skip && g->rejects.data)
        same_bytes(g, how, &g->rejects, r->rejects, r->rejects_len);
    assert_int_equal(r->stats.rows_in, r->stats.rows_summed + r->stats.rows_rejected);
    assert_int_equal(r->stats.bytes_out, r->out_len);
}

static void run_one(const struct golden *g, struct csv_case *c, const char *how)
{
    for (int skip = 0; skip < 2; skip++) {
        struct csv_result r;
        c->options.skip_bad_rows = skip;
        csv_run(c, &r);
        check(g, how, skip, &r);
        csv_result_release(&r);
    }
}

static void run_packed(const struct golden *g, enum csv_packing packing)
{
    static const size_t chunks[] = {0, 1, 7, 4096};
    static const unsigned threads[] = {1, 2, 5};
    static const struct {
        size_t block, table;
    } tiny[] = {{16, 1}, {61, 4000}, {4096, 1}};
    size_t len;
    char *data = csv_pack(packing, g->input.data, g->input.len, &len), how[128];

    for (size_t t = 0; t < 3; t++) {
        struct csv_case c = {.data = data, .len = len, .options.threads = threads[t]};
        for (size_t k = 0; k < sizeof chunks / sizeof *chunks; k++) {
            c.pipe_chunk = chunks[k];
            snprintf(how, sizeof how, "packing %d, %u threads, writes of %zu", (int)packing,
                     threads[t], chunks[k]);
            run_one(g, &c, how);
        }
        c.pipe_chunk = 0;
        for (size_t k = 0; k < sizeof tiny / sizeof *tiny; k++) {
            struct csv_plan plan = csv_tiny_plan(threads[t], tiny[k].block, tiny[k].table);
            c.plan = &plan;
            snprintf(how, sizeof how, "packing %d, %u threads, blocks of %zu, tables of %zu",
                     (int)packing, threads[t], tiny[k].block, tiny[k].table);
            run_one(g, &c, how);
        }
    }
    free(data);
}

static void the_outcome_is_as_expected_in_every_way_of_reading(void **state)
{
    const char *name = *state;
    struct golden g = {.name = name,
                       .input = read_file(name, ".csv"),
                       .output = read_file(name, ".expected.csv"),
                       .error = read_file(name, ".expected.error"),
                       .skip_output = read_file(name, ".skip.expected.csv"),
                       .skip_error = read_file(name, ".skip.expected.error"),
                       .rejects = read_file(name, ".rejects.csv")};

    if (!g.output.data == !g.error.data)
        fail_msg("%s has either an expected output or an expected error", name);
    drop_line_end(&g.error);
    drop_line_end(&g.skip_error);
    run_packed(&g, CSV_PLAIN);
    run_packed(&g, CSV_GZIP);
    run_packed(&g, CSV_ZSTD);
    free(g.input.data);
    free(g.output.data);
    free(g.error.data);
    free(g.skip_output.data);
    free(g.skip_error.data);
    free(g.rejects.data);
}

static bool ends_with(const char *name, const char *ending)
{
    size_t len = strlen(name), tail = strlen(ending);

    return len > tail && strcmp(name + len - tail, ending) == 0;
}

static int is_case(const struct dirent *d)
{
    return ends_with(d->d_name, ".csv") && !ends_with(d->d_name, ".expected.csv") &&
           !ends_with(d->d_name, ".rejects.csv");
}

int main(void)
{
    struct dirent **names;
    int count = scandir(GOLDEN_DIR, &names, is_case, alphasort);

    if (count <= 0) {
        fprintf(stderr, "no cases in " GOLDEN_DIR "\n");
        return 1;
    }
    struct CMUnitTest *tests = calloc((size_t)count, sizeof *tests);
    if (!tests)
        return 1;
    for (int i = 0; i < count; i++) {
        names[i]->d_name[strlen(names[i]->d_name) - strlen(".csv")] = '\0';
        tests[i] =
            (struct CMUnitTest){.name = names[i]->d_name,
                                .test_func = the_outcome_is_as_expected_in_every_way_of_reading,
                                .initial_state = names[i]->d_name};
    }
    int failed = _cmocka_run_group_tests("csv_golden", tests, (size_t)count, NULL, NULL);
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
    free(tests);
    return failed;
}
