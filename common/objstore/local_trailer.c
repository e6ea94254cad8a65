#include "local_trailer.h"

#include <string.h>

static const char magic[8] = "SGBLOB1\n";

enum { SIZE_AT = 8, NAME_LEN_AT = 16, DIGEST_AT = 24, DIGEST_BYTES = 32 };

static void put_u64(unsigned char *to, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        to[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get_u64(const unsigned char *from)
{
    uint64_t value = 0;

    for (int i = 7; i >= 0; i--)
        value = value << 8 | from[i];
    return value;
}

static unsigned nibble(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

size_t local_trailer_encode(const struct blob *blob, unsigned char ret_tail[LOCAL_TAIL_MAX])
{
    size_t len = strlen(blob->name);
    unsigned char *at = ret_tail + len;

    memcpy(ret_tail, blob->name, len);
    memcpy(at, magic, sizeof magic);
    put_u64(at + SIZE_AT, blob->size);
    put_u64(at + NAME_LEN_AT, len);
    for (int i = 0; i < DIGEST_BYTES; i++)
        at[DIGEST_AT + i] =
            (unsigned char)(nibble(blob->sha256[2 * i]) << 4 | nibble(blob->sha256[2 * i + 1]));
    return len + LOCAL_TRAILER_BYTES;
}

bool local_trailer_decode(const unsigned char *trailer, uint64_t file_size, struct blob *ret,
                          size_t *ret_name_len)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t size = get_u64(trailer + SIZE_AT), name_len = get_u64(trailer + NAME_LEN_AT);

    if (memcmp(trailer, magic, sizeof magic) != 0 || name_len == 0 ||
        name_len >= BLOB_NAME_MAX || size > file_size ||
        file_size - size != name_len + LOCAL_TRAILER_BYTES)
        return false;
    ret->size = size;
    *ret_name_len = (size_t)name_len;
    for (int i = 0; i < DIGEST_BYTES; i++) {
        ret->sha256[2 * i] = digits[trailer[DIGEST_AT + i] >> 4];
        ret->sha256[2 * i + 1] = digits[trailer[DIGEST_AT + i] & 15];
    }
    ret->sha256[SHA256_TEXT_MAX - 1] = '\0';
    return true;
}
