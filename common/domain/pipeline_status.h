/* pipeline_status.h - the five states that a pipeline and each of its steps can be in.
 *
 *   created ---> pending ---> finished | cancelled | failed
 *      |            |
 *      |<-----------'  a step whose on_start returned an error: it will be started again
 *      `-----------------> finished | cancelled | failed  (by hand, before it was started)
 *
 * The last three are final: nothing leaves them. Why a thing failed or was cancelled is a
 * sentence beside its state. Part of the installed header segue/pipeline.h; needs nothing.
 * Pure, safe from any thread. */
#ifndef SEGUE_PIPELINE_STATUS_H
#define SEGUE_PIPELINE_STATUS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef PIPELINE_API
#define PIPELINE_API __attribute__((visibility("default")))
#endif

enum pipeline_status {
    PIPELINE_CREATED,
    PIPELINE_PENDING,
    PIPELINE_FINISHED,
    PIPELINE_CANCELLED,
    PIPELINE_FAILED,
    PIPELINE_STATUS__COUNT
};

/* "created", "pending", "finished", "cancelled", "failed"; static. */
PIPELINE_API const char *pipeline_status_name(enum pipeline_status status);

/* Exact, lower case. False and *ret_status untouched for anything else, NULL too. */
PIPELINE_API bool pipeline_status_parse(const char *name, enum pipeline_status *ret_status);

/* finished, cancelled, failed. */
PIPELINE_API bool pipeline_status_is_final(enum pipeline_status status);

#ifdef __cplusplus
}
#endif

#endif
