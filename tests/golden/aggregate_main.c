/* The command `data_processor aggregate` alone, so that these tests need no worker; and the
 * engine with plans from standard input, thousands in one process, so that a few hundred bytes
 * meet every seam. A request is a line of numbers
 *
 *   THREADS BLOCK TABLE RUN_BUFFER FAN_IN ROW_MAX SKIP SCANNER PIPE LENGTH
 *
 * and LENGTH bytes of input; PIPE is 0 for a file or the size of the writes into a pipe. The
 * answer is a line CODE OUT REJECTS ERROR, the last three being lengths, and the three texts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "csv_run.h"
#include "plan.h"
#include "scan.h"

enum {
    THREADS,
    BLOCK,
    TABLE,
    RUN_BUFFER,
    FAN_IN,
    ROW_MAX,
    SKIP,
    SCANNER,
    PIPE,
    LENGTH,
    NUMBERS
};

/* One of those that run here, by number. */
static const struct scanner *scanner_of(size_t number)
{
    const struct scanner *found[8];
    size_t count = 0;

    for (const struct scanner *s = scanners; s->name && count < 8; s++)
        if (s->runs_here())
            found[count++] = s;
    return found[number % count];
}

static void answer(const struct csv_case *c)
{
    struct csv_result r;

    csv_run(c, &r);
    size_t error = r.rc ? strlen(r.err.text) : 0;
    if (r.rc == 0 && r.stats.rows_in != r.stats.rows_summed + r.stats.rows_rejected)
        r.rc = -1;
    printf("%d %zu %zu %zu\n", r.rc == -E_BAD_INPUT ? COMMAND_BAD_INPUT : r.rc,
           r.rc ? 0 : r.out_len, r.rc ? 0 : r.rejects_len, error);
    if (r.rc == 0) {
        fwrite(r.out, 1, r.out_len, stdout);
        fwrite(r.rejects, 1, r.rejects_len, stdout);
    }
    fwrite(r.err.text, 1, error, stdout);
    fflush(stdout);
    csv_result_release(&r);
}

/* Thousands of runs are spilled: into memory where there is a place for that. */
static const char *temp_dir(void)
{
    return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

static bool serve_one(void)
{
    unsigned long long n[NUMBERS];

    for (size_t i = 0; i < NUMBERS; i++)
        if (scanf("%llu", &n[i]) != 1)
            return false;
    char *data = malloc(n[LENGTH] + 1);
    if (getchar() != '\n' || !data || fread(data, 1, n[LENGTH], stdin) != n[LENGTH]) {
        free(data);
        return false;
    }
    struct csv_plan plan = {.threads = (unsigned)n[THREADS],
                            .block_bytes = n[BLOCK],
                            .table_bytes = n[TABLE],
                            .out_bytes = n[BLOCK],
                            .run_buffer_bytes = n[RUN_BUFFER],
                            .merge_bytes = n[TABLE],
                            .merge_fan_in = n[FAN_IN],
                            .row_max = n[ROW_MAX],
                            .scanner = scanner_of(n[SCANNER])};
    answer(&(struct csv_case){.data = data,
                              .len = n[LENGTH],
                              .plan = &plan,
                              .options = {.skip_bad_rows = n[SKIP], .temp_dir = temp_dir()},
                              .pipe_chunk = n[PIPE]});
    free(data);
    return true;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "serve") == 0) {
        while (serve_one())
            ;
        return COMMAND_DONE;
    }
    if (argc < 2 || strcmp(argv[1], "aggregate") != 0)
        return COMMAND_BAD_USAGE;
    return csv_command(argc - 1, argv + 1);
}
