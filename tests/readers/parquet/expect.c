#include "expect.h"

#include <stdlib.h>

#include "sha256.h"

enum { HEX_MAX = 32 };

void expect_ok(int rc, const struct err *err)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

void expect_bytes(FILE *out, const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    char hex[SHA256_TEXT_MAX];
    struct err err = ERR_INIT;

    fprintf(out, "%zu:", len);
    if (len > HEX_MAX) {
        expect_ok(sha256_hex(bytes, len, hex, &err), &err);
        fputs(hex, out);
        return;
    }
    for (size_t i = 0; i < len; i++)
        fprintf(out, "%02x", at[i]);
}

void expect_number(FILE *out, __int128 n)
{
    unsigned __int128 left = n < 0 ? -(unsigned __int128)n : (unsigned __int128)n;
    char text[48];
    size_t at = sizeof text - 1;

    text[at] = '\0';
    do {
        text[--at] = (char)('0' + (int)(left % 10));
        left /= 10;
    } while (left);
    fprintf(out, "%s%s", n < 0 ? "-" : "", text + at);
}
