/* segue/pipeline_sqlite.h - pipelines in a file of SQLite, shared by all processes of a
 * machine.
 *
 * Link with -lsegue-pipeline-sqlite (pkg-config segue-pipeline-sqlite). */
#ifndef SEGUE_PIPELINE_SQLITE_H
#define SEGUE_PIPELINE_SQLITE_H

#include "pipeline_repository.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opens the file, makes it when it is not there (its folder must be), and in it the tables
 * pipelines and pipeline_steps. Other tables in the file are left alone. What was stored
 * survives a crash of the machine (write-ahead log, synchronous FULL). One connection: calls
 * of several threads wait for each other, and for a writer in another process at most 10 s. The
 * file belongs on a local disk: claims are measured on the machine's own clock, which is never
 * set. Not open across a fork(): SQLite forbids it. -PIPELINE_E_UNAVAILABLE,
 * -PIPELINE_E_CORRUPT, -PIPELINE_E_NO_SPACE. */
PIPELINE_API int pipeline_sqlite_open(const char *path, struct pipeline_repository **ret,
                                      struct pipeline_err *err);

#ifdef __cplusplus
}
#endif

#endif
