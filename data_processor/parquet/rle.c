#include "rle.h"

#include "thrift.h"

/* Bit packing comes in eights; a shorter run is not worth leaving it for. */
enum { EIGHT = 8 };

unsigned rle_width(uint32_t most)
{
    return most < 2 ? 1 : 32 - (unsigned)__builtin_clz(most);
}

/* `count` numbers, the last eight filled up with zeros: only at the end of all. */
static void pack(struct buf *out, const uint32_t *numbers, size_t count, unsigned width)
{
    size_t eights = (count + EIGHT - 1) / EIGHT;
    uint64_t word = 0;
    unsigned bits = 0;

    if (count == 0)
        return;
    thrift_varint(out, (uint64_t)eights << 1 | 1);
    if (!buf_reserve(out, eights * width))
        return;
    unsigned char *at = (unsigned char *)out->data + out->len;
    for (size_t i = 0; i < eights * EIGHT; i++) {
        word |= (uint64_t)(i < count ? numbers[i] : 0) << bits;
        for (bits += width; bits >= 8; bits -= 8) {
            *at++ = (unsigned char)word;
            word >>= 8;
        }
    }
    out->len += eights * width;
    out->data[out->len] = '\0';
}

static void repeat(struct buf *out, uint32_t number, size_t count, unsigned width)
{
    thrift_varint(out, (uint64_t)count << 1);
    for (unsigned bits = 0; bits < width; bits += 8)
        buf_append_char(out, (char)(number >> bits));
}

/* A run is worth its own header when eight are left of it once it has filled up the eight
 * before it. */
void rle_encode(struct buf *out, const uint32_t *numbers, size_t count, unsigned width)
{
    size_t packed = 0, at = 0;

    while (at < count) {
        size_t end = at + 1;
        while (end < count && numbers[end] == numbers[at])
            end++;
        size_t fill = (EIGHT - (at - packed) % EIGHT) % EIGHT;
        if (end - at >= fill + EIGHT) {
            pack(out, numbers + packed, at + fill - packed, width);
            repeat(out, numbers[at], end - at - fill, width);
            packed = end;
        }
        at = end;
    }
    pack(out, numbers + packed, count - packed, width);
}
