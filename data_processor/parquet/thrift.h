/* thrift.h - writes Apache Thrift's compact protocol, as far as Parquet's page headers and
 * footer need it.
 *
 * Fields of a struct come in ascending order of their numbers. Everything is appended to a
 * struct buf; whether there was memory for it is asked of that. Pure; one thread at a time. */
#ifndef PARQUET_THRIFT_H
#define PARQUET_THRIFT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

/* As they stand in field and list headers. */
enum thrift_type {
    THRIFT_TRUE = 1,
    THRIFT_FALSE = 2,
    THRIFT_I16 = 4,
    THRIFT_I32 = 5,
    THRIFT_I64 = 6,
    THRIFT_BINARY = 8,
    THRIFT_LIST = 9,
    THRIFT_STRUCT = 12,
};

enum { THRIFT_DEPTH_MAX = 8 };

struct thrift {
    struct buf *out;            /* borrowed */
    int last[THRIFT_DEPTH_MAX]; /* number of the last field, by depth */
    unsigned depth;
};

/* Begins a struct that stands for itself; thrift_end ends it. */
void thrift_begin(struct thrift *t, struct buf *out);

void thrift_bool(struct thrift *t, int field, bool value);
void thrift_i16(struct thrift *t, int field, int16_t value);
void thrift_i32(struct thrift *t, int field, int32_t value);
void thrift_i64(struct thrift *t, int field, int64_t value);
void thrift_binary(struct thrift *t, int field, const void *bytes, size_t len);
void thrift_text(struct thrift *t, int field, const char *text);
void thrift_struct(struct thrift *t, int field); /* thrift_end ends it */

/* A list of `count` elements, which follow by one of the four below. */
void thrift_list(struct thrift *t, int field, enum thrift_type type, size_t count);
void thrift_item_i32(struct thrift *t, int32_t value);
void thrift_item_text(struct thrift *t, const char *text);
void thrift_item_struct(struct thrift *t);                       /* thrift_end ends it */
void thrift_item_raw(struct thrift *t, const struct buf *items); /* that were written before */

void thrift_end(struct thrift *t);

/* Seven bits a byte, the lowest first. */
void thrift_varint(struct buf *out, uint64_t n);

#endif
