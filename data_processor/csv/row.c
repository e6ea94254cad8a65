#include "row.h"

#include <string.h>

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
    size_t out = 0;

    for (size_t i = 0; i < f->len; i++) {
        ret_bytes[out++] = f->at[i];
        i += f->at[i] == '"';
    }
    return out;
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
    unsigned d[DATE_TEXT_LEN];

    if (len != DATE_TEXT_LEN || text[4] != '-' || text[7] != '-')
        return false;
    for (size_t i = 0; i < DATE_TEXT_LEN; i++) {
        d[i] = (unsigned)(unsigned char)text[i] - '0';
        if (d[i] > 9 && i != 4 && i != 7)
            return false;
    }

    unsigned year = d[0] * 1000 + d[1] * 100 + d[2] * 10 + d[3];
    unsigned month = d[5] * 10 + d[6], day = d[8] * 10 + d[9];
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

int plays_parse(const char *text, size_t len, uint128 *ret_plays)
{
    uint128 wide = 0;
    uint64_t sum = 0;
    bool too_big = false;

    if (len == 0)
        return CSV_REASON_BAD_PLAYS;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (digit > 9)
            return CSV_REASON_BAD_PLAYS;
        if (len < 20) { /* 19 digits cannot pass 2^64 */
            sum = sum * 10 + digit;
            continue;
        }
        too_big |= __builtin_mul_overflow(wide, (uint128)10, &wide);
        too_big |= __builtin_add_overflow(wide, (uint128)digit, &wide);
    }
    if (too_big)
        return CSV_REASON_PLAYS_TOO_BIG;
    *ret_plays = wide + sum;
    return -1;
}

size_t plays_format(uint128 n, char ret_text[PLAYS_TEXT_MAX])
{
    char reversed[PLAYS_TEXT_MAX];
    size_t len = 0;

    while (n > UINT64_MAX) { /* 128-bit division is slow: only as long as it must be */
        reversed[len++] = (char)('0' + (unsigned)(n % 10));
        n /= 10;
    }
    uint64_t low = (uint64_t)n;
    do {
        reversed[len++] = (char)('0' + low % 10);
        low /= 10;
    } while (low);
    for (size_t i = 0; i < len; i++)
        ret_text[i] = reversed[len - 1 - i];
    return len;
}
