/* range.c - Range, If-Range and If-None-Match. */
#include "range.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* Digits at *p; a number past 64 bits becomes the largest. False when there are none. */
static bool take_number(const char **p, uint64_t *ret)
{
    uint64_t n = 0;
    const char *start = *p;

    for (; **p >= '0' && **p <= '9'; ++*p) {
        unsigned digit = (unsigned)(**p - '0');
        n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
    }
    *ret = n;
    return *p != start;
}

/* "abc" or W/"abc" at *p, moved past. The text between the quotes, or NULL. */
static const char *take_etag(const char **p, size_t *ret_len, bool *ret_weak)
{
    *ret_weak = strncmp(*p, "W/", 2) == 0;
    const char *start = *p + (*ret_weak ? 2 : 0);
    if (*start != '"')
        return NULL;
    start++;
    const char *end = strchr(start, '"');
    if (end == NULL)
        return NULL;
    *ret_len = (size_t)(end - start);
    *p = end + 1;
    return start;
}

bool range_etag_matches(const char *if_none_match, const char *etag)
{
    const char *p = if_none_match ? skip_blanks(if_none_match) : "";

    if (*etag == '\0')
        return false;
    if (*p == '*')
        return *skip_blanks(p + 1) == '\0';
    while (*p) {
        size_t len;
        bool weak;
        const char *text = take_etag(&p, &len, &weak);
        if (text == NULL)
            return false;
        if (strlen(etag) == len && memcmp(text, etag, len) == 0)
            return true;
        p = skip_blanks(p);
        if (*p == ',')
            p = skip_blanks(p + 1);
    }
    return false;
}

/* If-Range needs the strong comparison; a date never fits, for we send none. */
static bool if_range_fits(const char *if_range, const char *etag)
{
    const char *p = skip_blanks(if_range);
    size_t len;
    bool weak;
    const char *text = take_etag(&p, &len, &weak);

    return text && !weak && *etag && strlen(etag) == len && memcmp(text, etag, len) == 0 &&
           *skip_blanks(p) == '\0';
}

enum range_result range_parse(const char *header, const char *if_range, const char *etag,
                              uint64_t size, uint64_t *ret_first, uint64_t *ret_last)
{
    uint64_t first = 0, last = 0;

    if (header == NULL || (if_range && !if_range_fits(if_range, etag)))
        return RANGE_WHOLE;
    const char *p = skip_blanks(header);
    if (strncasecmp(p, "bytes=", 6) != 0)
        return RANGE_WHOLE;
    p = skip_blanks(p + 6);
    bool has_first = take_number(&p, &first);
    if (*p++ != '-')
        return RANGE_WHOLE;
    bool has_last = take_number(&p, &last);
    if (*skip_blanks(p) != '\0' || (!has_first && !has_last) ||
        (has_first && has_last && first > last))
        return RANGE_WHOLE;

    if (!has_first) { /* the last so many bytes */
        if (last == 0 || size == 0)
            return RANGE_UNSATISFIABLE;
        *ret_first = last < size ? size - last : 0;
        *ret_last = size - 1;
        return RANGE_PART;
    }
    if (first >= size)
        return RANGE_UNSATISFIABLE;
    *ret_first = first;
    *ret_last = has_last && last < size ? last : size - 1;
    return RANGE_PART;
}
