#include "split.h"

#include <assert.h>
#include <string.h>

#include "scan.h"

static bool starts_field(const char *data, size_t at)
{
    return at == 0 || split_separates(data[at - 1]);
}

/* A row end in [from, to), all outside quotes; `len` is where the known bytes end. Returns
 * the offset after it, or 0. */
static size_t last_row_end(const char *data, size_t from, size_t to, size_t len, bool eof)
{
    for (size_t i = to; i > from; i--)
        if (data[i - 1] == '\n' || (data[i - 1] == '\r' && (i < len || eof)))
            return i;
    return 0;
}

static size_t first_row_end(const char *data, size_t from, size_t to, size_t len, bool eof)
{
    for (size_t i = from; i < to; i++) {
        if (data[i] == '\n')
            return i + 1;
        if (data[i] == '\r' && i + 1 < len)
            return i + 1 + (data[i + 1] == '\n');
        if (data[i] == '\r')
            return eof ? i + 1 : 0;
    }
    return 0;
}

void split_scan(struct split *s, const struct scanner *scanner, const char *data, size_t len,
                bool eof, enum split_want want)
{
    while (s->at < len) {
        if (scanner && want == SPLIT_LAST_ROW_END)
            scanner->split(s, data, len);
        const char *found = memchr(data + s->at, '"', len - s->at);
        size_t quote = found ? (size_t)(found - data) : len;

        if (s->inside) {
            if (quote + 1 >= len && !eof) { /* none, or its meaning hangs on the next byte */
                s->at = quote;
                return;
            }
            bool doubled = quote + 1 < len && data[quote + 1] == '"';
            s->inside = !found || doubled;
            s->at = !found ? len : quote + (doubled ? 2 : 1);
            continue;
        }

        size_t end = want == SPLIT_LAST_ROW_END ? last_row_end(data, s->at, quote, len, eof)
                                                : first_row_end(data, s->at, quote, len, eof);
        if (end)
            s->boundary = end;
        if (end && want == SPLIT_FIRST_ROW_END) {
            s->at = end;
            return;
        }
        if (!found) {
            /* a CR that may be half a CRLF is looked at again */
            s->at = !eof && data[len - 1] == '\r' ? len - 1 : len;
            return;
        }
        s->inside = starts_field(data, quote);
        s->at = quote + 1;
    }
}

void split_rebase(struct split *s, size_t cut)
{
    assert(cut <= s->at);
    s->at -= cut;
    s->boundary = 0;
}

size_t split_count_lines(const char *data, size_t len, bool *after_cr)
{
    size_t lines = 0;

    for (size_t i = 0; i < len; i++) {
        lines += data[i] == '\r' || (data[i] == '\n' && !*after_cr);
        *after_cr = data[i] == '\r';
    }
    return lines;
}
