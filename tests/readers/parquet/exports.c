/* exports.c - fills a container, has the job parquet_export make Parquet of it, and says what
 * readers must find.
 *
 *   parquet_exports NAME single|blobs|fill FOLDER EXPECTED
 *   parquet_exports list
 *
 * FOLDER becomes an object store (fill: with the container in it, and no more). Prints the
 * paths of the files in order, and on standard error the most memory that the job held.
 * EXPECTED is as expect.h says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container.h"
#include "expect.h"
#include "job.h"
#include "parquet_part.h"
#include "sha256.h"

enum { MIB = 1024 * 1024, NAMES_MAX = 64 };
#define COMMIT "0123456789abcdef0123456789abcdef01234567"

struct file {
    char name[256];
    const char *content; /* NULL: `size` bytes of noise */
    size_t size;
};

struct set {
    const char *name;
    const char *commit, *params;
    size_t count;
    void (*describe)(size_t i, struct file *ret);
    int64_t most_bytes; /* of memory, 0: never mind */
};

static struct err err;

static void check(int rc)
{
    expect_ok(rc, &err);
}

/* In the order in which a container lists them. */
static void odd(size_t i, struct file *ret)
{
    static const struct {
        const char *name, *content;
        size_t size;
    } files[] = {
        {"\x01control", "\0", 1},
        {" ", "space", 5},
        {"%41", "a per cent sign and two digits", 30},
        {"-rf", "", 0},
        {"..", "up", 2},
        {"../../etc/passwd", "root:x:0:0", 10},
        {".hidden", "PAR1", 4},
        {"A", "upper", 5},
        {"a", "lower", 5},
        {"a/b", "\0\0\0\0", 4},
        {"a\\b",
         "\xEF\xBB\xBF"
         "bom",
         6},
        {"b\nc\td", "\r\n", 2},
        {"e\xCC\x81", "decomposed", 10},
        {"z\"'`", "quotes", 6},
        {"\xC3\xA9", "composed", 8},
        {"\xE2\x80\xAEtxt", "\xFF\xFE", 2},
        {"\xF0\x9F\x8E\xB5.mp3", "\xED\xA0\x80", 3},
        {"\xFF\xFE%41", "a name that is no UTF-8", 23},
    };

    snprintf(ret->name, sizeof ret->name, "%s", files[i].name);
    ret->content = files[i].content;
    ret->size = files[i].size;
}

static void large(size_t i, struct file *ret)
{
    static const size_t sizes[] = {0, 1, MIB - 1, MIB, MIB + 1, 100 * MIB, 3 * MIB, 100 * MIB};

    snprintf(ret->name, sizeof ret->name, "large/%zu", i);
    ret->size = sizes[i];
}

static void small(size_t i, struct file *ret)
{
    snprintf(ret->name, sizeof ret->name, "src/%07zu.c", i);
    ret->content = i % 5 ? ret->name : "";
    ret->size = strlen(ret->content);
}

static void none(size_t i, struct file *ret)
{
    (void)i, (void)ret;
}

static const struct set sets[] = {
    {"empty", COMMIT, "\"part_rows\":5", 0, none, 0},
    {"odd", NULL, "\"part_rows\":5", 18, odd, 0},
    {"large", COMMIT, "\"part_bytes\":104857600", 8, large, 64 * MIB},
    {"small", COMMIT, "\"part_rows\":1999", 10000, small, 0},
};
enum { SETS = sizeof sets / sizeof *sets };

/* Noise that differs by size: nothing that could be made smaller. */
static const char *content_of(const struct file *f)
{
    static char *noise;
    uint64_t x = 88172645463325252 + f->size;

    if (f->content)
        return f->content;
    if (!noise && !(noise = malloc(100 * MIB + 8)))
        exit(1);
    for (size_t i = 0; i < f->size; i += sizeof x) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(noise + i, &x, sizeof x);
    }
    return noise;
}

static void fill(const struct set *set, struct container_store *containers, FILE *expected)
{
    struct container *c = NULL;
    bool existed;

    check(container_open(containers, set->name, &c, &err));
    check(container_ensure(c, &existed, &err));
    if (set->commit)
        check(container_set_commit(c, set->commit, &err));
    for (size_t i = 0; i < set->count; i++) {
        struct file f = {.name = ""};
        struct container_put *put = NULL;
        char hex[SHA256_TEXT_MAX], text[PART_NAME_MAX];
        set->describe(i, &f);
        const char *content = content_of(&f);
        check(container_put_begin(c, f.name, &put, &err));
        check(container_put_write(put, content, f.size, &err));
        check(container_put_commit_free(put, NULL, &err));
        check(sha256_hex(content, f.size, hex, &err));
        expect_bytes(expected, text, part_name(f.name, text));
        fputc('\t', expected);
        expect_bytes(expected, content, f.size);
        fprintf(expected, "\t%zu\t", f.size);
        expect_bytes(expected, hex, strlen(hex));
        fputc('\t', expected);
        if (set->commit)
            expect_bytes(expected, set->commit, strlen(set->commit));
        else
            fputc('-', expected);
        fputc('\n', expected);
    }
    container_close(c);
}

static void no_progress(void *arg, const struct job_progress *progress)
{
    (void)arg, (void)progress;
}

/* In a process of its own, which starts small. */
static int export(const struct set *set, const char *url, bool single, const char *folder)
{
    struct work work = {.task_id = "01890a5d-ac96-774b-bcce-b302099a8057", .attempt = 1};
    struct job_context context = {
        .work = &work, .threads = 2, .memory_bytes = 64 * MIB, .progress = no_progress};
    struct report report = {.result = NULL};
    char params[256];

    check(objstore_open(url, &context.store, &err));
    check(container_store_open(context.store, NULL, &context.containers, &err));
    snprintf(params, sizeof params, "{\"container\":\"%s\",\"single_parquet\":%s,%s}",
             set->name, single ? "true" : "false", set->params);
    work.params = params;
    snprintf(work.output_prefix, sizeof work.output_prefix, "processed_data/%s/1/",
             work.task_id);
    if (job_find("parquet_export")->run(&context, &report) != 0) {
        fprintf(stderr, "%s\n", report.error.message);
        return 1;
    }
    int64_t peak = job_peak_rss_bytes();
    fprintf(stderr, "%s: %lld MiB of memory\n", set->name, (long long)(peak / MIB));
    printf("%s/%s\n%s\n", folder, report.output.key, report.result);
    free(report.result);
    container_store_close(context.containers);
    objstore_close(context.store);
#ifdef ANY_MEMORY
    return 0;
#else
    return set->most_bytes && peak > set->most_bytes;
#endif
}

static const struct set *find(const char *name)
{
    for (size_t i = 0; i < SETS; i++)
        if (strcmp(sets[i].name, name) == 0)
            return &sets[i];
    return NULL;
}

int main(int argc, char **argv)
{
    struct objstore *store = NULL;
    struct container_store *containers = NULL;
    char url[4096];
    int status = 1;

    for (size_t i = 0; argc == 2 && i < SETS; i++)
        puts(sets[i].name);
    if (argc == 2)
        return 0;
    const struct set *set = argc == 5 ? find(argv[1]) : NULL;
    FILE *expected = set ? fopen(argv[4], "wb") : NULL;
    if (!expected) {
        fprintf(stderr,
                "usage: parquet_exports list | NAME single|blobs|fill FOLDER EXPECTED\n");
        return 2;
    }
    snprintf(url, sizeof url, "file:%s", argv[3]);
    pid_t pid = fork();
    if (pid == 0) {
        check(objstore_open(url, &store, &err));
        check(container_store_open(store, NULL, &containers, &err));
        fill(set, containers, expected);
        container_store_close(containers);
        objstore_close(store);
        return fclose(expected) ? 1 : 0;
    }
    if (waitpid(pid, &status, 0) != pid || status != 0)
        return 1;
    if (strcmp(argv[2], "fill") == 0)
        return 0;
    return export(set, url, strcmp(argv[2], "single") == 0, argv[3]);
}
