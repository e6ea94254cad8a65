/* scan_rows.h - the body of every scanner. The file that includes it defines SCAN_TARGET (an
 * attribute) and SCAN_NAME, by which it finds its marks() and prefix_xor() and names what is
 * here. No include guard: it is included once for each kind of processor. */

/* Takes what is inside quotes out of the marks: it is text. Nothing branches on quotes, for
 * which song has some cannot be foreseen. False for a row that must be read byte by byte.
 * Opening quotes stand where a field starts or behind a closing one (then both are one quote);
 * closing ones in front of a comma, a line end or an opening one. */
SCAN_TARGET static inline bool SCAN_NAME(unquote)(struct scan_marks *m, uint64_t *ret_doubled)
{
    uint64_t inside = SCAN_NAME(prefix_xor)(m->quote);
    uint64_t comma = m->comma & ~inside, line_end = m->line_end & ~inside;
    uint64_t row = line_end ^ (line_end - 1); /* up to and with the line end */
    uint64_t open = m->quote & inside & row, close = m->quote & ~inside & row;
    uint64_t wrong = (m->line_end & inside & row) | (open & ~(comma << 1 | 1 | close << 1)) |
                     ((close << 1) & ~(comma | line_end | open));

    *ret_doubled = open & close << 1;
    m->comma = comma & row;
    m->line_end = line_end;
    return line_end != 0 && wrong == 0;
}

/* Puts a field down, without the quotes around it. */
SCAN_TARGET static inline void SCAN_NAME(put)(struct item *item, unsigned want, const char *row,
                                              unsigned from, unsigned to, uint64_t quote)
{
    unsigned quoted = quote >> from & 1;

    item->at[want] = row + from + quoted;
    item->len[want] = to - from - 2 * quoted;
}

SCAN_TARGET static size_t SCAN_NAME(rows)(struct scan *s, struct item *items, size_t room)
{
    const char *at = s->at;
    size_t count = 0;

    while (count < room && at < s->end) {
        struct scan_marks m;
        uint64_t doubled;
        SCAN_NAME(marks)(at, &m);
        if (!SCAN_NAME(unquote)(&m, &doubled))
            break;
        uint64_t second = m.comma & (m.comma - 1);
        if (second == 0 || (second & (second - 1)))
            break;
        unsigned a = (unsigned)__builtin_ctzll(m.comma);
        unsigned b = (unsigned)__builtin_ctzll(second);
        unsigned c = (unsigned)__builtin_ctzll(m.line_end);
        if (at + c > s->end)
            break; /* a quote is open to the end */
        struct item *item = &items[count++];
        item->fault = -1;
        item->line = s->lines++;
        SCAN_NAME(put)(item, s->want[0], at, 0, a, m.quote);
        SCAN_NAME(put)(item, s->want[1], at, a + 1, b, m.quote);
        SCAN_NAME(put)(item, s->want[2], at, b + 1, c, m.quote);
        uint64_t song = (UINT64_C(2) << item->len[WANT_SONG]) - 1;
        item->escaped = doubled >> (item->at[WANT_SONG] - at) & song;
        at += c;
        if (at < s->end) {
            bool crlf = *at == '\r' && at + 1 < s->end && at[1] == '\n';
            at += 1 + crlf;
        }
    }
    s->at = at;
    return count;
}

/* See split_scan, which goes on where this stops: at a quote that opens nothing, or when fewer
 * than 65 bytes are left. A closing quote at the end of the 64 is left for the next ones, where
 * the byte behind it can be seen. */
SCAN_TARGET static void SCAN_NAME(split)(struct split *s, const char *data, size_t len)
{
    size_t at = s->at, boundary = s->boundary;
    bool inside = s->inside;

    while (len - at > 64) {
        struct scan_marks m;
        SCAN_NAME(marks)(data + at, &m);
        uint64_t within = SCAN_NAME(prefix_xor)(m.quote) ^ (inside ? ~UINT64_C(0) : 0);
        uint64_t open = m.quote & within, close = m.quote & ~within;
        uint64_t stray = open & ~((m.comma | m.line_end | close) << 1);
        if (stray && (stray != 1 || (at > 0 && !split_separates(data[at - 1]))))
            break;
        unsigned step = 64 - (unsigned)(close >> 63);
        uint64_t ends = m.line_end & ~within;
        if (ends)
            boundary = at + 64 - (size_t)__builtin_clzll(ends);
        inside = within >> (step - 1) & 1;
        at += step;
    }
    s->at = at;
    s->boundary = boundary;
    s->inside = inside;
}

#undef SCAN_TARGET
#undef SCAN_NAME
