/* repo_tar.c - repo_download on an object store that is no folder, which packs the files.
 *
 *   repo_tar DIR URL    settings from the environment; prints result or error as the worker
 * would
 *
 * The store is the local one, but for not telling its root. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"
#include "objstore_ops.h"

static const char *no_root(struct objstore *s)
{
    (void)s;
    return NULL;
}

static void ignore_progress(void *arg, const struct job_progress *p)
{
    (void)arg, (void)p;
}

static int run(struct objstore *store, const struct config *config, const char *url)
{
    char params[512];
    struct work work = {.task_id = "01890a5d-ac96-774b-bcce-b302099a8057",
                        .attempt = 1,
                        .output_prefix =
                            "processed_data/01890a5d-ac96-774b-bcce-b302099a8057/1/",
                        .params = params};
    const struct job_context context = {.work = &work,
                                        .store = store,
                                        .config = config,
                                        .threads = 1,
                                        .progress = ignore_progress};
    struct report report = {.task_id = ""};

    snprintf(params, sizeof params, "{\"repository\":\"%s\"}", url);
    int rc = job_find("repo_download")->run(&context, &report);
    printf("%s\n%s\n", rc ? report.error.code : report.result, report.output.key);
    report_release(&report);
    return rc ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct config config;
    struct objstore *store = NULL;
    struct objstore_ops ops;
    char url[512];
    struct err err = ERR_INIT;

    if (argc != 3)
        return 2;
    snprintf(url, sizeof url, "file:%s", argv[1]);
    int rc = config_load(&config, CONFIG_WORKER, 1, argv, NULL, &err);
    if (!rc)
        rc = objstore_open(url, &store, &err);
    if (rc) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    const struct objstore_ops *real = store->ops;
    ops = *real;
    ops.root = no_root;
    store->ops = &ops;
    rc = run(store, &config, argv[2]);
    store->ops = real;
    objstore_close(store);
    config_release(&config);
    return rc;
}
