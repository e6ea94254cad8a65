/* bytes.h - words read from text, the same on every machine. Pure. */
#ifndef CSV_BYTES_H
#define CSV_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* So many bytes behind any text that is scanned or hashed may be read (not written, and what
 * they hold does not matter): a word at the last byte needs no special case. */
enum { BYTES_SLACK = 64 };

static inline uint64_t load64(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return le64toh(word);
}

static inline uint64_t load64_big(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return be64toh(word);
}

/* The first 8 bytes as a number that orders like them, zeros behind the end. */
static inline uint64_t load_prefix(const char *at, size_t len)
{
    uint64_t word = 0;

    memcpy(&word, at, len < 8 ? len : 8);
    return be64toh(word);
}

/* <0, 0, >0 in byte order of two texts that are alike before `from`. By words, for most names
 * are short and much alike; BYTES_SLACK bytes behind both can be read. */
static inline int bytes_compare(const char *a, size_t a_len, const char *b, size_t b_len,
                                size_t from)
{
    size_t shorter = a_len < b_len ? a_len : b_len;

    for (size_t at = from; at < shorter; at += 8) {
        uint64_t x = load64_big(a + at), y = load64_big(b + at);
        if (x == y)
            continue;
        if (at + (size_t)__builtin_clzll(x ^ y) / 8 >= shorter)
            break; /* behind the end of one */
        return x < y ? -1 : 1;
    }
    return (a_len > b_len) - (a_len < b_len);
}

extern const char bytes_masks[64]; /* 32 bytes of ones, 32 of zeros */

/* Ones where the 8 bytes from `from` on are below `len` (at most 32). */
static inline uint64_t mask64(size_t len, size_t from)
{
    return load64(bytes_masks + 32 - len + from);
}

static inline void prefetch(const void *at)
{
    __builtin_prefetch(at);
}

#endif
