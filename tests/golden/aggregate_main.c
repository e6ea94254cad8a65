/* The command `data_processor aggregate` alone, so that these tests need no worker; and the
 * engine with plans from standard input, thousands in one process, so that a few hundred bytes
 * meet every seam. A request is a line of numbers
 *
 *   THREADS BLOCK TABLE RUN_BUFFER MERGE FAN_IN ROW_MAX SKIP SCANNER PIPE PACKING LOST FLIPPED
 *   LENGTH
 *
 * and LENGTH bytes of input. SCANNER is an index into those of the first line, which names the
 * ones that run here; PIPE is 0 for a file or the size of the writes into a pipe; PACKING is
 * enum csv_packing. LOST and FLIPPED damage the packed bytes: the last 1 + LOST modulo their
 * number go missing, and bit FLIPPED modulo theirs is turned over (0: no). The answer is a line
 * CODE RUNS OUT REJECTS ERROR: spilled runs, then three lengths, and the three texts. */
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
    MERGE,
    FAN_IN,
    ROW_MAX,
    SKIP,
    SCANNER,
    PIPE,
    PACKING,
    LOST,
    FLIPPED,
    LENGTH,
    NUMBERS
};

enum { SCANNERS_MAX = 8 };

/* Those that run here; their number. */
static size_t usable_scanners(const struct scanner *ret[SCANNERS_MAX])
{
    size_t count = 0;

    for (const struct scanner *s = scanners; s->name && count < SCANNERS_MAX; s++)
        if (s->runs_here())
            ret[count++] = s;
    return count;
}

static void answer(const struct csv_case *c)
{
    struct csv_result r;

    csv_run(c, &r);
    size_t error = r.rc ? strlen(r.err.text) : 0;
    if (r.rc == 0 && r.stats.rows_in != r.stats.rows_summed + r.stats.rows_rejected)
        r.rc = -1;
    printf("%d %zu %zu %zu %zu\n", r.rc == -E_BAD_INPUT ? COMMAND_BAD_INPUT : r.rc,
           r.rc ? (size_t)0 : (size_t)r.stats.spilled_runs, r.rc ? 0 : r.out_len,
           r.rc ? 0 : r.rejects_len, error);
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

/* The input as it arrives. */
static char *pack(const unsigned long long n[NUMBERS], const char *data, size_t *ret_len)
{
    char *packed = csv_pack((enum csv_packing)n[PACKING], data, n[LENGTH], ret_len);

    if (n[LOST] && *ret_len)
        *ret_len -= 1 + n[LOST] % *ret_len;
    if (n[FLIPPED] && *ret_len) {
        size_t bit = n[FLIPPED] % (8 * *ret_len);
        packed[bit / 8] = (char)(packed[bit / 8] ^ 1 << bit % 8);
    }
    return packed;
}

static bool serve_one(const struct scanner *const *usable)
{
    unsigned long long n[NUMBERS];
    size_t len;

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
                            .merge_bytes = n[MERGE],
                            .merge_fan_in = n[FAN_IN],
                            .row_max = n[ROW_MAX],
                            .scanner = usable[n[SCANNER]]};
    char *packed = pack(n, data, &len);
    answer(&(struct csv_case){
        .data = packed,
        .len = len,
        .plan = &plan,
        .options = {.skip_bad_rows = n[SKIP], .temp_dir = temp_dir()},
        .pipe_chunk = n[PIPE],
    });
    free(packed);
    free(data);
    return true;
}

static int serve(void)
{
    const struct scanner *usable[SCANNERS_MAX];
    size_t count = usable_scanners(usable);

    for (size_t i = 0; i < count; i++)
        printf("%s%s", i ? " " : "", usable[i]->name);
    printf("\n");
    fflush(stdout);
    while (serve_one(usable))
        ;
    return COMMAND_DONE;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "serve") == 0)
        return serve();
    if (argc < 2 || strcmp(argv[1], "aggregate") != 0)
        return COMMAND_BAD_USAGE;
    return csv_command(argc - 1, argv + 1);
}
