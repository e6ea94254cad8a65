/* spill.h - sorted runs of totals in temporary files that have no name.
 *
 * A run is a stretch of a spill file: per song its length (4 bytes), its bytes, then per day
 * 4 bytes day << 1 | overflow and 16 bytes sum, then 4 bytes of zero. The file is read by the
 * process that wrote it only, so numbers lie there as the machine has them.
 *
 * Each object belongs to one thread at a time; different readers may share a file. All calls
 * block on the disk. */
#ifndef CSV_SPILL_H
#define CSV_SPILL_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "row.h"

struct song {
    uint64_t prefix; /* first 8 bytes, big-endian, zeros behind: orders most pairs */
    const char *bytes;
    uint32_t len;
};

/* <0, 0, >0 in byte order; names hold no NUL and have BYTES_SLACK readable bytes behind. */
int song_compare(const struct song *a, const struct song *b);

/* The total of a song on a day. Whether it matters that a sum passed 128 bits is known at the
 * end. */
struct group {
    uint128 sum;
    uint32_t day, rank; /* rank: of the day among those of the input, when it is known */
    bool overflowed;
};

struct run {
    int fd;
    uint64_t offset, bytes;
    uint32_t longest_song;
};

struct run_list {
    struct run *items;
    size_t count, room;
    size_t merged;        /* so many first ones are in others now */
    uint64_t bytes, read; /* of all runs that were ever in it; of these by readers */
};

int run_list_add(struct run_list *l, const struct run *run, struct err *err);
void run_list_release(struct run_list *l);

/* One file to append runs to; opened by the first. */
struct spill_file {
    const char *dir; /* borrowed */
    int fd;          /* -1 until then */
    uint64_t size;
};

void spill_file_init(struct spill_file *f, const char *dir);
void spill_file_close(struct spill_file *f);

/* Writes one run: begin, puts in ascending order, end. */
struct run_writer {
    struct spill_file *file;
    struct run run;
    char *buffer;
    size_t len, cap;
    const char *song; /* of the last put */
    uint32_t song_len;
    char *song_copy;
    size_t song_room;
};

int run_writer_begin(struct run_writer *w, struct spill_file *file, size_t buffer_bytes,
                     struct err *err);
int run_writer_put(struct run_writer *w, const struct song *song, const struct group *group,
                   struct err *err);
int run_writer_end(struct run_writer *w, struct run *ret_run, struct err *err);
void run_writer_release(struct run_writer *w); /* after any outcome */

/* Reads one run. After open and each next, `song` and `group` hold a total unless `at_end`. */
struct run_reader {
    struct run run; /* what is left */
    char *buffer;
    size_t at, len, cap;
    struct song song;
    struct group group;
    char *song_bytes;
    bool at_end;
    uint64_t *read;
};

/* *read grows by the bytes that were read. */
int run_reader_open(struct run_reader *r, const struct run *run, size_t buffer_bytes,
                    uint64_t *read, struct err *err);
int run_reader_next(struct run_reader *r, struct err *err);
void run_reader_close(struct run_reader *r);

#endif
