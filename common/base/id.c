#include "id.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "clock.h"

static const char hex[] = "0123456789abcdef";

static void random_bytes(void *out, size_t len)
{
    uint8_t *at = out;

    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            abort(); /* a kernel without random numbers cannot make unguessable tokens */
        }
        at += got;
        len -= (size_t)got;
    }
}

void id_new(char ret_id[ID_TEXT_MAX])
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static uint64_t last_ms;
    static uint16_t counter;
    uint8_t b[ID_BYTES];

    random_bytes(b, sizeof b);

    pthread_mutex_lock(&lock);
    uint64_t now = (uint64_t)clock_wall_ms();
    if (now > last_ms) {
        last_ms = now;
        counter = (uint16_t)((b[6] << 8 | b[7]) & 0x7FF); /* half of the space is headroom */
    } else if (++counter > 0xFFF) {
        last_ms++;
        counter = 0;
    }
    uint64_t ms = last_ms;
    uint16_t count = counter;
    pthread_mutex_unlock(&lock);

    for (int i = 0; i < 6; i++)
        b[i] = (uint8_t)(ms >> (40 - 8 * i));
    b[6] = (uint8_t)(0x70 | count >> 8);
    b[7] = (uint8_t)count;
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3F));
    id_from_bytes(b, ret_id);
}

void token_new(char ret_token[TOKEN_TEXT_MAX])
{
    uint8_t b[16];

    random_bytes(b, sizeof b);
    for (int i = 0; i < 16; i++) {
        ret_token[2 * i] = hex[b[i] >> 4];
        ret_token[2 * i + 1] = hex[b[i] & 15];
    }
    ret_token[32] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static bool is_dash_place(int i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

bool id_is_valid(const char *text)
{
    if (!text)
        return false;
    for (int i = 0; i < 36; i++) {
        if (is_dash_place(i) ? text[i] != '-' : hex_value(text[i]) < 0)
            return false;
    }
    return text[36] == '\0';
}

bool token_is_valid(const char *text)
{
    if (!text)
        return false;
    for (int i = 0; i < 32; i++) {
        if (hex_value(text[i]) < 0)
            return false;
    }
    return text[32] == '\0';
}

void id_to_bytes(const char *id, uint8_t ret_bytes[ID_BYTES])
{
    int nibble = 0;

    memset(ret_bytes, 0, ID_BYTES);
    for (int i = 0; i < 36; i++) {
        if (is_dash_place(i))
            continue;
        ret_bytes[nibble / 2] = (uint8_t)(ret_bytes[nibble / 2] << 4 | (hex_value(id[i]) & 15));
        nibble++;
    }
}

void id_from_bytes(const uint8_t bytes[ID_BYTES], char ret_id[ID_TEXT_MAX])
{
    int nibble = 0;

    for (int i = 0; i < 36; i++) {
        if (is_dash_place(i)) {
            ret_id[i] = '-';
            continue;
        }
        uint8_t b = bytes[nibble / 2];
        ret_id[i] = hex[nibble % 2 ? b & 15 : b >> 4];
        nibble++;
    }
    ret_id[36] = '\0';
}
