/* csv.h - sorted daily totals of song plays from a CSV stream of any size.
 *
 * The door of the aggregation engine. No queue, no network, no task: bytes in, bytes out.
 * The contract of the format (header, quoting, bad rows, order, sums) is docs/csv.md; the
 * result is the same byte for byte with any number of threads, any memory limit and any way
 * in which the input arrives. */
#ifndef CSV_CSV_H
#define CSV_CSV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* Why a row was refused: R(NAME, code, sentence). The sentence follows "line 7: " or
 * "line 7, column Date: ". A row with several faults has the first of this order. */
#define CSV_REASONS(R)                                                                         \
    R(ROW_TOO_LONG, "row_too_long", "the row is longer than 4 MiB")                            \
    R(OPEN_QUOTE, "open_quote", "a quote is still open at the end of the file")                \
    R(TEXT_AFTER_QUOTE, "text_after_quote", "text follows a closing quote")                    \
    R(FIELD_COUNT, "field_count", "wrong number of fields")                                    \
    R(EMPTY_SONG, "empty_song", "the name is empty")                                           \
    R(NUL_BYTE, "nul_byte", "the name holds a NUL byte")                                       \
    R(BAD_UTF8, "bad_utf8", "the name is not valid UTF-8")                                     \
    R(BAD_DATE, "bad_date", "not a calendar day in the form YYYY-MM-DD")                       \
    R(BAD_PLAYS, "bad_plays", "not a whole number written in digits only")                     \
    R(PLAYS_TOO_BIG, "plays_too_big", "larger than 2^128 - 1")

enum csv_reason {
#define R(name, code, sentence) CSV_REASON_##name,
    CSV_REASONS(R)
#undef R
        CSV_REASON__COUNT
};

const char *csv_reason_code(enum csv_reason reason); /* "bad_date"; static */

struct csv_progress {
    uint64_t bytes_read, bytes_total; /* of the input as it lies on disk, before inflating;
                                         total 0: not known */
    uint64_t rows;                    /* rows taken in so far */
    double fraction; /* of all the work, merging and writing too; below 0: not known */
};

struct csv_options {
    unsigned threads;           /* 0: one per core */
    int64_t memory_bytes;       /* buffers and tables; sorted runs are spilled beyond it.
                                   0: 256 MiB. Kept from 16 MiB up, a wish below that */
    int64_t max_inflated_bytes; /* cap on what a compressed input may become; 0: 1 TiB */
    bool skip_bad_rows;         /* false: the first bad row in the file fails the whole */
    const char *temp_dir;       /* where runs are spilled (files unlinked at once);
                                   NULL: /var/tmp */

    /* Called a few times a second from one thread at a time. May be NULL. */
    void (*progress)(void *arg, const struct csv_progress *progress);
    void *progress_arg;
};

struct csv_stats {
    uint64_t rows_in, rows_summed, rows_rejected; /* rows_in = the sum of the other two */
    uint64_t groups;                              /* rows of the output below its header */
    uint64_t bytes_in, bytes_inflated, bytes_out;
    uint64_t rejected[CSV_REASON__COUNT];
    uint64_t spilled_runs;
};

/* Reads CSV (plain, gzip or zstd, told by its first bytes) from in_fd, writes the totals to
 * out_fd and, when skipping, the first 1,000 rejects to rejects_fd (-1 for none). The fds
 * stay open and are the caller's; in_fd may be a pipe. Blocks until done; starts and joins
 * its own threads.
 *
 * 0: all written. -E_BAD_INPUT: the input breaks the contract; err is a sentence for the
 * user with line, column, reason and excerpt. -E_NO_SPACE, -E_IO, -E_NO_MEMORY: may work
 * later. On failure nothing useful is in out_fd and no temporary file is left: throw away
 * what out_fd holds. ret_stats is filled on success only. Safe from several threads with
 * different fds. A write to a closed pipe raises SIGPIPE unless the caller ignores it. */
int csv_aggregate(int in_fd, int out_fd, int rejects_fd, const struct csv_options *options,
                  struct csv_stats *ret_stats, struct err *err);

/* -- totals that are no CSV -- */

struct csv_song {
    const char *bytes; /* UTF-8, no NUL at the end */
    uint32_t len;
    uint32_t count; /* totals of the batch that are its own */
};

/* Totals in the order of the output: song after song, and those of each by day. */
struct csv_batch {
    const struct csv_song *songs; /* the first may be the last one of the batch before */
    size_t song_count;
    const uint32_t *days; /* year << 9 | month << 5 | day */
    const unsigned __int128 *plays;
    size_t count;
};

/* Takes all totals: `begin`, then batches, of whatever size, from one thread at a time but not
 * always the same. Both return 0, or a negative code with err set. `put` may return CSV_AGAIN
 * instead: then everything comes once more, with a `begin` before it. */
enum { CSV_AGAIN = 1 };
struct csv_sink {
    int (*begin)(void *arg, struct err *err);
    int (*put)(void *arg, const struct csv_batch *batch, struct err *err);
    void *arg;
};

/* As csv_aggregate, with the totals to a sink. ret_stats->bytes_out is 0. */
int csv_aggregate_to(int in_fd, const struct csv_sink *sink, int rejects_fd,
                     const struct csv_options *options, struct csv_stats *ret_stats,
                     struct err *err);

#endif
