/* segue/pipeline_mysql.h - pipelines in MySQL (from 8.0) or MariaDB (from 10.6), shared by all
 * machines that reach it.
 *
 * Link with -lsegue-pipeline-mysql (pkg-config segue-pipeline-mysql). */
#ifndef SEGUE_PIPELINE_MYSQL_H
#define SEGUE_PIPELINE_MYSQL_H

#include "pipeline_repository.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pipeline_mysql_options {
    const char *host; /* name or address; connections are TCP */
    unsigned port;    /* 0: 3306 */
    const char *user, *password, *database;
    unsigned timeout_s; /* for connecting, and for each answer; 0: 20 */
};

/* Connects, and makes the tables pipelines and pipeline_steps when they are not there. The
 * options are copied. One connection, made anew when it was lost: calls of several threads wait
 * for each other; for more, open the repository once per thread. Claims are measured on the
 * server's clock. -PIPELINE_E_UNAVAILABLE. */
PIPELINE_API int pipeline_mysql_open(const struct pipeline_mysql_options *options,
                                     struct pipeline_repository **ret,
                                     struct pipeline_err *err);

#ifdef __cplusplus
}
#endif

#endif
