#include "row.h"

#include <string.h>

#include "bytes.h"

/* A field that opens with a quote. Behind the closing one the rest up to the comma or row
 * end is taken as ordinary text, as the splitter takes it. */
static const char *quoted_read(const char *at, const char *end, struct field *f);

/* Bytes at which an unquoted field ends. */
static const bool ends_field[256] = {[','] = true, ['\n'] = true, ['\r'] = true};

static const char *unquoted_end(const char *at)
{
    while (!ends_field[(unsigned char)*at])
        at++;
    return at;
}

const char *field_read(const char *at, const char *end, struct field *ret_field)
{
    if (*at == '"' && at < end)
        return quoted_read(at + 1, end, ret_field);

    const char *stop = unquoted_end(at);
    *ret_field = (struct field){.at = at, .len = (size_t)(stop - at)};
    return stop;
}

static const char *quoted_read(const char *at, const char *end, struct field *f)
{
    bool after_cr = false;
    const char *p = at;

    *f = (struct field){.at = at};
    for (;; p++) {
        if (p == end) {
            f->len = (size_t)(p - at);
            f->open_quote = true;
            return p;
        }
        if (*p == '"') {
            if (p + 1 == end || p[1] != '"')
                break;
            f->escaped = true;
            p++;
        }
        f->lines += *p == '\r' || (*p == '\n' && !after_cr);
        after_cr = *p == '\r';
    }
    f->len = (size_t)(p - at);
    const char *stop = unquoted_end(p + 1);
    f->text_behind = stop != p + 1;
    return stop;
}

size_t field_unescape(const struct field *f, char *ret_bytes)
{
    const char *at = f->at, *end = at + f->len;
    char *to = ret_bytes;

    for (const char *quote; (quote = memchr(at, '"', (size_t)(end - at))) != NULL;) {
        size_t len = (size_t)(quote + 1 - at);
        memmove(to, at, len);
        to += len;
        at = quote + 2;
    }
    memmove(to, at, (size_t)(end - at));
    return (size_t)(to - ret_bytes) + (size_t)(end - at);
}

const char *row_end_skip(const char *at, const char *end)
{
    if (*at == '\r' && at + 1 < end && at[1] == '\n')
        return at + 2;
    return at + 1;
}

static void note_fault(struct row *r, int reason, int64_t column)
{
    if (r->fault < 0 || reason < r->fault) {
        r->fault = reason;
        r->fault_column = column;
    }
}

void row_read(struct row *r, const char *at, const char *end, const struct columns *c)
{
    const char *stop;

    r->start = at;
    r->fields = 0;
    r->lines = 1;
    r->fault = -1;
    r->fault_column = ROW_NO_COLUMN;
    for (;; at = stop + 1) {
        struct field f;
        stop = field_read(at, end, &f);
        if (r->fields == c->song)
            r->song = f;
        else if (r->fields == c->date)
            r->date = f;
        else if (r->fields == c->plays)
            r->plays = f;
        r->lines += f.lines;
        if (f.open_quote)
            note_fault(r, CSV_REASON_OPEN_QUOTE, (int64_t)r->fields);
        if (f.text_behind)
            note_fault(r, CSV_REASON_TEXT_AFTER_QUOTE, (int64_t)r->fields);
        r->fields++;
        if (stop == end || *stop != ',')
            break;
    }
    r->len = (size_t)(stop - r->start);
    r->next = stop == end ? end : row_end_skip(stop, end);
    if (r->fields != c->count)
        note_fault(r, CSV_REASON_FIELD_COUNT, ROW_NO_COLUMN);
}

bool date_parse(const char *text, size_t len, uint32_t *ret_day)
{
    static const unsigned char days[16] = {0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint64_t number;

    if (len != DATE_TEXT_LEN || text[4] != '-' || text[7] != '-')
        return false;
    uint64_t head = load64(text), last = (unsigned char)text[9], first = (unsigned char)text[8];
    uint64_t digits =
        (head & UINT32_MAX) | (head >> 8 & UINT64_C(0xFFFF) << 32) | first << 48 | last << 56;
    if (!plays_eight(digits, &number))
        return false;

    unsigned year = (unsigned)number / 10000, month = (unsigned)number / 100 % 100;
    unsigned day = (unsigned)number % 100;
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (year == 0 || month > 12 || day == 0 ||
        day > days[month] + (leap && month == 2 ? 1U : 0U))
        return false;
    *ret_day = year << 9 | month << 5 | day;
    return true;
}

void date_format(uint32_t day, char ret_text[DATE_TEXT_LEN])
{
    unsigned y = day >> 9, m = day >> 5 & 15, d = day & 31;
    const char text[DATE_TEXT_LEN] = {
        (char)('0' + y / 1000),
        (char)('0' + y / 100 % 10),
        (char)('0' + y / 10 % 10),
        (char)('0' + y % 10),
        '-',
        (char)('0' + m / 10),
        (char)('0' + m % 10),
        '-',
        (char)('0' + d / 10),
        (char)('0' + d % 10),
    };

    memcpy(ret_text, text, sizeof text);
}

static int parse_long(const char *text, size_t len, uint128 *ret_plays)
{
    uint128 sum = 0;
    bool too_big = false;

    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (digit > 9)
            return CSV_REASON_BAD_PLAYS;
        too_big |= __builtin_mul_overflow(sum, (uint128)10, &sum);
        too_big |= __builtin_add_overflow(sum, (uint128)digit, &sum);
    }
    if (too_big)
        return CSV_REASON_PLAYS_TOO_BIG;
    *ret_plays = sum;
    return -1;
}

int plays_parse(const char *text, size_t len, uint128 *ret_plays)
{
    uint64_t high = 0, low;

    if (len == 0)
        return CSV_REASON_BAD_PLAYS;
    if (len > 16)
        return parse_long(text, len, ret_plays);
    if (len > 8) {
        if (!plays_eight(load64(text), &high))
            return CSV_REASON_BAD_PLAYS;
        text += 8;
        len -= 8;
    }
    if (!plays_eight(plays_word(text, len), &low))
        return CSV_REASON_BAD_PLAYS;
    static const uint64_t tens[9] = {1,      10,      100,      1000,     10000,
                                     100000, 1000000, 10000000, 100000000};
    *ret_plays = high * tens[len] + low;
    return -1;
}

/* Two digits at a time from the end, into the end of `digits`; returns where they start. */
static char *put_digits(uint64_t n, char *end)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";

    while (n >= 100) {
        end -= 2;
        memcpy(end, pairs + n % 100 * 2, 2);
        n /= 100;
    }
    if (n >= 10) {
        end -= 2;
        memcpy(end, pairs + n * 2, 2);
    } else {
        *--end = (char)('0' + n);
    }
    return end;
}

/* How many digits: 1233 / 4096 is a little more than log10(2). */
static size_t digit_count(uint64_t n)
{
    static const uint64_t tens[20] = {0,
                                      10,
                                      100,
                                      1000,
                                      10000,
                                      100000,
                                      1000000,
                                      10000000,
                                      100000000,
                                      1000000000,
                                      10000000000,
                                      100000000000,
                                      1000000000000,
                                      10000000000000,
                                      100000000000000,
                                      1000000000000000,
                                      10000000000000000,
                                      100000000000000000,
                                      1000000000000000000,
                                      UINT64_C(10000000000000000000)};
    size_t least = (size_t)(64 - __builtin_clzll(n | 1)) * 1233 >> 12;

    return least + (n >= tens[least]);
}

static size_t format_long(uint128 n, char ret_text[PLAYS_TEXT_MAX])
{
    const uint64_t ten19 = UINT64_C(10000000000000000000);
    char digits[3 * 20], *end = digits + sizeof digits, *at = end;

    while (n > UINT64_MAX) { /* 128-bit division is slow: as seldom as can be */
        char *part = at - 19;
        memset(part, '0', 19);
        put_digits((uint64_t)(n % ten19), at);
        at = part;
        n /= ten19;
    }
    at = put_digits((uint64_t)n, at);
    memcpy(ret_text, at, (size_t)(end - at));
    return (size_t)(end - at);
}

/* The usual number goes where it belongs at once: to copy what was just written by twos makes
 * the processor wait for it. */
size_t plays_format(uint128 n, char ret_text[PLAYS_TEXT_MAX])
{
    if (n > UINT64_MAX)
        return format_long(n, ret_text);
    size_t len = digit_count((uint64_t)n);
    put_digits((uint64_t)n, ret_text + len);
    return len;
}
