/* pipelines.c - the pipelines that are known by name: those that ship, and a folder of
 * definitions. Read once at the start; a wrong one refuses it. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"
#include "log.h"
#include "service_internal.h"

enum { FILE_MAX_BYTES = 256 * 1024, FILES_MAX = 1000 };

static bool is_type(void *arg, const char *type)
{
    return submit_is_type(arg, type);
}

struct run_def_rules pipelines_rules(const struct config *config)
{
    return (struct run_def_rules){is_type, (void *)(uintptr_t)config};
}

static int compare(const void *a, const void *b)
{
    const struct run_def *const *x = a, *const *y = b;

    return strcmp(run_def_name(*x), run_def_name(*y));
}

static struct run_def **find(const struct pipelines *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(run_def_name(p->items[i]), name) == 0)
            return &p->items[i];
    }
    return NULL;
}

/* Takes d over. One from a file takes the place of one that ships. */
static int add(struct pipelines *p, struct run_def *d, size_t shipped, struct err *err)
{
    struct run_def **same = find(p, run_def_name(d));

    if (same && (size_t)(same - p->items) >= shipped) {
        int rc =
            err_set(err, -E_BAD_VALUE, "name: there are two pipelines '%s'", run_def_name(d));
        run_def_free(d);
        return rc;
    }
    if (same) {
        run_def_free(*same);
        *same = d;
        return 0;
    }
    struct run_def **grown = reallocarray(p->items, p->count + 1, sizeof *grown);
    if (!grown) {
        run_def_free(d);
        return err_set(err, -E_NO_MEMORY, "no memory for a pipeline");
    }
    p->items = grown;
    grown[p->count++] = d;
    return 0;
}

/* Is all that is wrong that the program has no such task types? */
static bool lacks_types(const char *mistakes)
{
    while (*mistakes) {
        size_t len = strcspn(mistakes, "\n");
        const char *found = strstr(mistakes, "there is no task type");
        if (!found || found > mistakes + len)
            return false;
        mistakes += len + 1;
    }
    return true;
}

static int parse_builtin(const char *text, const struct run_def_rules *rules,
                         struct run_def **ret, struct err *err)
{
    struct buf mistakes = BUF_INIT;
    struct err why = ERR_INIT;
    int rc = run_def_parse(text, strlen(text), "", NULL, rules, ret, &mistakes, &why);

    if (rc == -E_BAD_VALUE && lacks_types(mistakes.data)) {
        log_debug("pipeline.left_out", LOG_S("reason", why.text));
        rc = 0;
    }
    buf_release(&mistakes);
    return rc ? err_set(err, rc, "a pipeline that ships: %s", why.text) : 0;
}

/* One that ships works with task types that ship: a program without those is without it. */
static int add_builtin(struct pipelines *p, const struct run_def_rules *rules, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; pipelines_builtin[i] && !rc; i++) {
        struct run_def *d = NULL;
        rc = parse_builtin(pipelines_builtin[i], rules, &d, err);
        if (!rc && d)
            rc = add(p, d, 0, err);
    }
    return rc;
}

static int add_file(struct pipelines *p, const char *path, const struct run_def_rules *rules,
                    size_t shipped, struct err *err)
{
    char *text = NULL;
    struct run_def *d = NULL;
    int rc = fs_read_small(path, FILE_MAX_BYTES, &text, err);

    if (rc)
        return rc;
    rc = run_def_parse(text, strlen(text), "", NULL, rules, &d, NULL, err);
    free(text);
    if (!rc)
        rc = add(p, d, shipped, err);
    return rc ? err_wrap(err, "'%s'", path) : 0;
}

static int is_definition(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);

    return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0;
}

static int add_folder(struct pipelines *p, const char *dir, const struct run_def_rules *rules,
                      struct err *err)
{
    struct dirent **names = NULL;
    size_t shipped = p->count;
    int count = scandir(dir, &names, is_definition, alphasort);
    int rc = count < 0 ? err_set_errno(err, -E_BAD_VALUE, errno, "open '%s'", dir) : 0;

    if (count > FILES_MAX)
        rc = err_set(err, -E_BAD_VALUE, "'%s' has more than %d definitions", dir, FILES_MAX);
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        int len = snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        if (!rc && (len < 0 || (size_t)len >= sizeof path))
            rc = err_set(err, -E_BAD_VALUE, "the path of '%s' is too long", names[i]->d_name);
        if (!rc)
            rc = add_file(p, path, rules, shipped, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

int pipelines_load(const struct config *config, struct pipelines *ret, struct err *err)
{
    struct run_def_rules rules = pipelines_rules(config);
    const char *dir = config->pipelines_dir;
    int rc = add_builtin(ret, &rules, err);

    if (!rc && dir && dir[0])
        rc = add_folder(ret, dir, &rules, err);
    if (rc && rc != -E_NO_MEMORY)
        err_wrap(err, "PIPELINES_DIR");
    if (rc) {
        pipelines_release(ret);
        return rc;
    }
    if (ret->count)
        qsort(ret->items, ret->count, sizeof ret->items[0], compare);
    return 0;
}

void pipelines_release(struct pipelines *p)
{
    for (size_t i = 0; i < p->count; i++)
        run_def_free(p->items[i]);
    free(p->items);
    *p = (struct pipelines){NULL, 0};
}

int service_check_pipelines(const struct config *config, struct err *err)
{
    struct pipelines p = {NULL, 0};
    int rc = pipelines_load(config, &p, err);

    pipelines_release(&p);
    return rc;
}

const struct run_def *service_pipeline_at(const struct service *s, size_t index)
{
    return index < s->pipelines.count ? s->pipelines.items[index] : NULL;
}

const struct run_def *service_pipeline_find(const struct service *s, const char *name)
{
    struct run_def **found = find(&s->pipelines, name);

    return found ? *found : NULL;
}
