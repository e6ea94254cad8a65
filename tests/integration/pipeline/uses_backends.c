/* uses_backends.c - a program of somebody else: pipelines in a file, and the other header too.
 */
#include <segue/pipeline_mysql.h>
#include <segue/pipeline_sqlite.h>
#include <stdio.h>

static int finish(struct pipeline_step *step, void *unused, struct pipeline_err *err)
{
    (void)unused;
    return pipeline_step_finish(step, err);
}

int main(int argc, char **argv)
{
    const struct pipeline_step_definition step = {.name = "only", .on_start = finish};
    const char *const names[] = {"only"};
    const struct pipeline_definition definition = {"p", names, 1};
    /* Nobody listens on port 1. */
    const struct pipeline_mysql_options nowhere = {
        .host = "127.0.0.1", .port = 1, .user = "u", .password = "p", .database = "d"};
    struct pipeline_repository *r = NULL, *none = NULL;
    struct orchestrator *o = NULL;
    struct pipeline *p = NULL;
    struct pipeline_err err = {0};

    int rc = argc == 2 ? pipeline_sqlite_open(argv[1], &r, &err) : 1;
    if (!rc)
        rc = orchestrator_new(r, NULL, &o, &err);
    if (!rc)
        rc = orchestrator_register_step(o, &step, &err);
    if (!rc)
        rc = orchestrator_register_pipeline(o, &definition, &err);
    if (!rc)
        rc = pipeline_new(o, "p", NULL, &p, &err);
    if (!rc)
        rc = pipeline_start(p, &err);
    if (!rc)
        rc = orchestrator_execute_pipelines(o, NULL, &err);
    if (!rc)
        rc = pipeline_refresh(p, &err);
    if (rc)
        fprintf(stderr, "%s\n", err.text);
    else
        printf("%s, and mysql says %s\n", pipeline_status_name(pipeline_state(p)),
               pipeline_code_name(pipeline_mysql_open(&nowhere, &none, &err)));
    pipeline_free(p);
    orchestrator_free(o);
    pipeline_repository_free(r);
    return rc ? 1 : 0;
}
