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
        unsigned from = 0;
        item->fault = -1;
        item->escaped = false;
        item->line = s->lines++;
        for (unsigned i = 0; i < 3; i++) {
            unsigned want = s->want[i], to = stop[i];
            if (quotes && (m.quote >> from & 1)) {
                from++;
                to--;
                if (want == WANT_SONG && doubled)
                    item->escaped = (doubled >> from) & ((UINT64_C(1) << (to - from)) - 1);
            }
            item->at[want] = at + from;
            item->len[want] = to - from;
            from = stop[i] + 1;
        }
        at = end;
        if (at < s->end) {
            bool crlf = *at == '\r' && at + 1 < s->end && at[1] == '\n';
            at += 1 + crlf;
        }
    }
    s->at = at;
    return count;
}

SCAN_TARGET static void SCAN_NAME(marks_out)(const char *at, struct scan_marks *ret_marks)
{
    SCAN_NAME(marks)(at, ret_marks);
}

#undef SCAN_TARGET
#undef SCAN_NAME
