/* scan_rows.h - the body of every scanner. The file that includes it defines SCAN_TARGET (an
 * attribute), SCAN_MARKS (bytes to struct scan_marks, inline) and the names SCAN_ROWS and
 * SCAN_MARKS_OUT. No include guard: it is included once for each kind of processor. */

/* Takes the quotes out of the sum: what is inside them is text. False for a row that must be
 * read byte by byte. Opening quotes stand where a field starts or behind a closing one (then
 * both are one quote); closing ones in front of a comma, a line end or an opening one. */
SCAN_TARGET static inline bool SCAN_NAME(unquote)(struct scan_marks *m, uint64_t *ret_doubled)
{
    uint64_t inside = prefix_xor(m->quote);
    uint64_t comma = m->comma & ~inside, line_end = m->line_end & ~inside;
    uint64_t row = line_end ^ (line_end - 1); /* up to and with the line end */
    uint64_t open = m->quote & inside & row, close = m->quote & ~inside & row;

    if (line_end == 0 || (m->line_end & inside & row))
        return false;
    if ((open & ~(comma << 1 | 1 | close << 1)) || ((close << 1) & ~(comma | line_end | open)))
        return false;
    *ret_doubled = open & close << 1;
    m->comma = comma;
    m->line_end = line_end;
    return true;
}

/* Takes the quotes off the fields that have them. */
SCAN_TARGET static inline void SCAN_NAME(strip)(struct item *item, const char *row,
                                                uint64_t quote, uint64_t doubled)
{
    for (unsigned i = 0; i < WANTED; i++) {
        unsigned from = (unsigned)(item->at[i] - row);
        if (!(quote >> from & 1))
            continue;
        item->at[i]++;
        item->len[i] -= 2;
        if (i == WANT_SONG)
            item->escaped = doubled >> from & ((UINT64_C(2) << item->len[i]) - 1);
    }
}

SCAN_TARGET static size_t SCAN_NAME(rows)(struct scan *s, struct item *items, size_t room)
{
    const char *at = s->at;
    size_t count = 0;

    while (count < room && at < s->end) {
        struct scan_marks m;
        uint64_t doubled = 0;
        SCAN_NAME(marks)(at, &m);
        uint64_t row = m.line_end ^ (m.line_end - 1);
        uint64_t quotes = m.quote & row;
        if (quotes && !SCAN_NAME(unquote)(&m, &doubled))
            break;
        if (m.line_end == 0)
            break;
        uint64_t commas = m.comma & (m.line_end ^ (m.line_end - 1));
        uint64_t second = commas & (commas - 1);
        if (second == 0 || (second & (second - 1)))
            break;
        unsigned stop[3] = {(unsigned)__builtin_ctzll(commas),
                            (unsigned)__builtin_ctzll(second),
                            (unsigned)__builtin_ctzll(m.line_end)};
        const char *end = at + stop[2];
        if (end > s->end)
            break; /* a quote is open to the end */
        struct item *item = &items[count++];
        item->fault = -1;
        item->escaped = false;
        item->line = s->lines++;
        item->at[s->want[0]] = at;
        item->len[s->want[0]] = stop[0];
        item->at[s->want[1]] = at + stop[0] + 1;
        item->len[s->want[1]] = stop[1] - stop[0] - 1;
        item->at[s->want[2]] = at + stop[1] + 1;
        item->len[s->want[2]] = stop[2] - stop[1] - 1;
        if (quotes)
            SCAN_NAME(strip)(item, at, m.quote, doubled);
        at = end;
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
        uint64_t within = inside ? ~UINT64_C(0) : 0;
        unsigned step = 64;
        if (m.quote) {
            within ^= prefix_xor(m.quote);
            uint64_t open = m.quote & within, close = m.quote & ~within;
            uint64_t before = (m.comma | m.line_end | close) << 1;
            before |=
                at == 0 || data[at - 1] == ',' || data[at - 1] == '\n' || data[at - 1] == '\r';
            if (open & ~before)
                break;
            step -= (unsigned)(close >> 63);
        }
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
