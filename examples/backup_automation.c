/* backup_automation.c - a backup as a pipeline of three steps, with pipelines kept in memory.
 *
 *   cc backup_automation.c $(pkg-config --cflags --libs segue-pipeline) && ./a.out
 *
 * BackupGeneration -> BackupTransfer -> ProcessCompletionNotification. Each step prints that it
 * starts and that it is done, and finishes. A program that is meant to survive its own death
 * keeps its pipelines in a file instead: pipeline_sqlite_open(), and the rest stays. */
#include <segue/pipeline.h>
#include <segue/pipeline_repository.h>

#include <stdio.h>

static int generate_backup(struct pipeline_step *step, void *unused, struct pipeline_err *err)
{
    (void)unused;
    printf("Starting backup generation\n");
    /* ... write the archive; on trouble: return pipeline_step_fail(step, "...", err) ... */
    printf("Backup generation completed\n");
    return pipeline_step_finish(step, err);
}

static int transfer_backup(struct pipeline_step *step, void *unused, struct pipeline_err *err)
{
    (void)unused;
    printf("Starting backup transfer\n");
    printf("Backup transfer completed\n");
    return pipeline_step_finish(step, err);
}

static int notify(struct pipeline_step *step, void *unused, struct pipeline_err *err)
{
    (void)unused;
    printf("Starting process completion notification\n");
    printf("Process completion notification completed\n");
    return pipeline_step_finish(step, err);
}

static const struct pipeline_step_definition steps[] = {
    {.name = "BackupGeneration", .on_start = generate_backup},
    {.name = "BackupTransfer", .on_start = transfer_backup},
    {.name = "ProcessCompletionNotification", .on_start = notify},
};

static const char *const order[] = {"BackupGeneration", "BackupTransfer",
                                    "ProcessCompletionNotification"};

static const struct pipeline_definition backup = {
    .name = "BackupAutomationPipeline", .steps = order, .step_count = 3};

static int register_all(struct orchestrator *o, struct pipeline_err *err)
{
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        int rc = orchestrator_register_step(o, &steps[i], err);
        if (rc)
            return rc;
    }
    return orchestrator_register_pipeline(o, &backup, err);
}

/* Sweeps until no pipeline is pending any more. A service would sweep now and then instead. */
static int run(struct orchestrator *o, struct pipeline_err *err)
{
    struct pipeline_sweep sweep;
    struct pipeline *p;

    int rc = pipeline_new(o, "BackupAutomationPipeline", NULL, &p, err);
    if (rc)
        return rc;
    rc = pipeline_start(p, err);
    do {
        if (!rc)
            rc = orchestrator_execute_pipelines(o, &sweep, err);
    } while (!rc && sweep.found > 0 && sweep.errors == 0);
    if (!rc)
        rc = pipeline_refresh(p, err);
    if (!rc)
        printf("%s is %s\n", pipeline_name(p), pipeline_status_name(pipeline_state(p)));
    if (!rc && pipeline_state(p) != PIPELINE_FINISHED)
        rc = pipeline_err_set(err, -PIPELINE_E_BAD_STATE, "the backup did not finish: %s",
                              pipeline_reason(p));
    pipeline_free(p);
    return rc;
}

int main(void)
{
    struct pipeline_repository *repository = NULL;
    struct orchestrator *o = NULL;
    struct pipeline_err err = {0};

    int rc = pipeline_memory_new(&repository, &err);
    if (!rc)
        rc = orchestrator_new(repository, NULL, &o, &err);
    if (!rc)
        rc = register_all(o, &err);
    if (!rc)
        rc = run(o, &err);
    if (rc)
        fprintf(stderr, "backup_automation: %s\n", err.text);
    orchestrator_free(o);
    pipeline_repository_free(repository);
    return rc ? 1 : 0;
}
