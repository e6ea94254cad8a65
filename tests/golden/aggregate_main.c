/* The command `data_processor aggregate` alone, so that these tests need no worker; and the
 * engine with a plan from the command line, so that a few hundred bytes meet every seam:
 *
 *   test_aggregate planned THREADS BLOCK TABLE RUN_BUFFER FAN_IN ROW_MAX fail|skip REJECTS */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "plan.h"

static size_t number(const char *text)
{
    return (size_t)strtoull(text, NULL, 10);
}

static int planned(char **argv)
{
    struct csv_options options = {.skip_bad_rows = strcmp(argv[6], "skip") == 0,
                                  .temp_dir = "/tmp"};
    struct csv_plan plan = {.threads = (unsigned)number(argv[0]),
                            .block_bytes = number(argv[1]),
                            .table_bytes = number(argv[2]),
                            .out_bytes = number(argv[1]),
                            .run_buffer_bytes = number(argv[3]),
                            .merge_bytes = number(argv[2]),
                            .merge_fan_in = number(argv[4]),
                            .row_max = number(argv[5])};
    struct csv_stats stats;
    struct err err = ERR_INIT;
    int rejects = open(argv[7], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = csv_aggregate_planned(STDIN_FILENO, STDOUT_FILENO, rejects, &options, &plan,
                                   &stats, &err);

    if (rejects >= 0)
        close(rejects);
    if (rc == 0) {
        fprintf(stderr, "rows %llu = %llu + %llu\n", (unsigned long long)stats.rows_in,
                (unsigned long long)stats.rows_summed, (unsigned long long)stats.rows_rejected);
        return COMMAND_DONE;
    }
    fprintf(stderr, "%s\n", err.text);
    return rc == -E_BAD_INPUT ? COMMAND_BAD_INPUT : COMMAND_TRY_LATER;
}

int main(int argc, char **argv)
{
    if (argc == 10 && strcmp(argv[1], "planned") == 0)
        return planned(argv + 2);
    if (argc < 2 || strcmp(argv[1], "aggregate") != 0)
        return COMMAND_BAD_USAGE;
    return csv_command(argc - 1, argv + 1);
}
