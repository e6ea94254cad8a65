/* multipart.c - a push parser.
 *
 * The delimiter (CR LF - - boundary) holds its first byte, CR, nowhere else. So when a match
 * breaks off, nothing but a CR can start the next one, and the bytes held back meanwhile are
 * a prefix of the delimiter itself: no buffer is needed. */
#include "multipart.h"

#include <string.h>
#include <strings.h>

enum { IN_PREAMBLE, IN_DELIMITER_TAIL, IN_HEADER, IN_DATA, IN_EPILOGUE };

#define BOUNDARY_CHARS                                                                         \
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'()+_,./:=?- "

/* One parameter, "key=token" or "key=\"quoted\"", at p. Its value is unquoted in place (a
 * backslash escapes one of `escaped`) and ended with a NUL. Returns the place after it and
 * after the semicolon that follows, or NULL when it cannot be read. */
static char *take_parameter(char *p, const char *escaped, size_t *ret_key_len, char **ret_value)
{
    *ret_key_len = strcspn(p, "=;\" \t");
    if (*ret_key_len == 0 || p[*ret_key_len] != '=')
        return NULL;
    p += *ret_key_len + 1;
    char *out = p;
    *ret_value = p;
    if (*p == '"') {
        for (p++; *p != '"'; p++) {
            if (*p == '\\' && p[1] && strchr(escaped, p[1]))
                p++;
            if (*p == '\0')
                return NULL;
            *out++ = *p;
        }
        p++;
    } else {
        p += strcspn(p, "; \t\"");
        out = p;
    }
    p += strspn(p, " \t");
    if (*p != ';' && *p != '\0')
        return NULL;
    p += *p == ';';
    *out = '\0';
    return p + strspn(p, " \t");
}

bool multipart_boundary(const char *content_type, char ret_boundary[MULTIPART_BOUNDARY_MAX + 1])
{
    static const char type[] = "multipart/form-data";
    char copy[MULTIPART_TYPE_MAX + 1];
    const char *boundary = NULL;
    size_t size = strnlen(content_type, sizeof copy);

    if (size == sizeof copy || strncasecmp(content_type, type, sizeof type - 1) != 0)
        return false;
    memcpy(copy, content_type, size + 1);
    char *p = copy + sizeof type - 1;
    p += strspn(p, " \t");
    if (*p++ != ';')
        return false;
    p += strspn(p, " \t");
    while (*p) {
        size_t key_len;
        char *key = p, *value;
        p = take_parameter(p, "\"\\", &key_len, &value);
        bool is_boundary = p && key_len == 8 && strncasecmp(key, "boundary", 8) == 0;
        if (!p || (is_boundary && boundary))
            return false;
        if (is_boundary)
            boundary = value;
    }
    size_t len = boundary ? strspn(boundary, BOUNDARY_CHARS) : 0;
    if (len == 0 || boundary[len] != '\0' || len > MULTIPART_BOUNDARY_MAX ||
        boundary[len - 1] == ' ')
        return false;
    memcpy(ret_boundary, boundary, len + 1);
    return true;
}

void multipart_init(struct multipart *m, const char *boundary,
                    const struct multipart_events *events, void *context)
{
    *m = (struct multipart){.events = events, .context = context, .state = IN_PREAMBLE};
    memcpy(m->delimiter, "\r\n--", 4);
    m->delimiter_len = 4 + strnlen(boundary, MULTIPART_BOUNDARY_MAX);
    memcpy(m->delimiter + 4, boundary, m->delimiter_len - 4);
    m->matched = m->lent = 2; /* the first delimiter needs no line end in front */
}

static int malformed(struct err *err, const char *what)
{
    return err_set(err, -E_BAD_VALUE, "malformed multipart form: %s", what);
}

static int emit(struct multipart *m, const char *bytes, size_t len, struct err *err)
{
    if (m->state == IN_PREAMBLE || len == 0)
        return 0;
    return m->events->data(m->context, bytes, len, err);
}

/* Takes bytes up to and including the next delimiter. The number taken, or a failure. */
static int take_data(struct multipart *m, const char *bytes, size_t len, size_t *ret_taken,
                     struct err *err)
{
    size_t at = 0;

    while (at < len) {
        int result = 0;
        if (m->matched == 0) {
            const char *cr = memchr(bytes + at, '\r', len - at);
            size_t run = cr ? (size_t)(cr - (bytes + at)) : len - at;
            result = emit(m, bytes + at, run, err);
            at += run + (cr != NULL);
            m->matched = cr != NULL;
        } else if (bytes[at] == m->delimiter[m->matched]) {
            at++;
            if (++m->matched == m->delimiter_len) {
                m->matched = m->lent = 0;
                m->state = IN_DELIMITER_TAIL;
                m->header_len = 0;
                break;
            }
        } else {
            result = emit(m, m->delimiter + m->lent, m->matched - m->lent, err);
            m->matched = m->lent = 0;
        }
        if (result < 0)
            return result;
    }
    *ret_taken = at;
    return 0;
}

/* Between the boundary and the end of its line: "--" closes the form, blanks are allowed. */
static int take_tail(struct multipart *m, char c, struct err *err)
{
    char last = m->header_len ? m->header[0] : '\0';

    if (c == '\n' && last == '\r') {
        m->state = IN_HEADER;
        m->header_len = 0;
        return 0;
    }
    if (c == '-' && last == '-') {
        m->state = IN_EPILOGUE;
        return 0;
    }
    if (last == '\r' || last == '-' || (c != '\r' && c != ' ' && c != '\t' && c != '-') ||
        (c == '-' && last != '\0'))
        return malformed(err, "text follows a boundary");
    m->header[0] = c;
    m->header_len = 1;
    return 0;
}

/* "form-data; name=…; filename=…" */
static int take_disposition(char *p, char **ret_name, char **ret_file_name, struct err *err)
{
    if (strncasecmp(p, "form-data", 9) != 0 || *ret_name)
        return malformed(err, "a part is not form-data");
    p += 9;
    p += strspn(p, " \t");
    if (*p != ';')
        return malformed(err, "a part has no name");
    p++;
    p += strspn(p, " \t");
    while (*p) {
        size_t key_len;
        char *key = p, *value;
        /* Not the backslash: browsers send file paths with plain ones. */
        p = take_parameter(p, "\"", &key_len, &value);
        char **place = key_len == 4 && strncasecmp(key, "name", 4) == 0       ? ret_name
                       : key_len == 8 && strncasecmp(key, "filename", 8) == 0 ? ret_file_name
                                                                              : NULL;
        if (p == NULL || (place && *place))
            return malformed(err, "a part's header cannot be read");
        if (place)
            *place = value;
    }
    return 0;
}

static int take_header_line(char *line, char **ret_name, char **ret_file_name, struct err *err)
{
    size_t len = strcspn(line, ":");
    char *value = line + len + (line[len] == ':');

    if (line[len] != ':')
        return malformed(err, "a part's header cannot be read");
    value += strspn(value, " \t");
    if (len == 19 && strncasecmp(line, "Content-Disposition", 19) == 0)
        return take_disposition(value, ret_name, ret_file_name, err);
    if (len == 12 && strncasecmp(line, "Content-Type", 12) == 0 &&
        strncasecmp(value, "multipart/", 10) == 0)
        return malformed(err, "a part is a form itself");
    if (len == 25 && strncasecmp(line, "Content-Transfer-Encoding", 25) == 0 &&
        strcasecmp(value, "binary") != 0 && strcasecmp(value, "8bit") != 0 &&
        strcasecmp(value, "7bit") != 0)
        return malformed(err, "a part has a transfer encoding");
    return 0;
}

/* Collects the header of a part; at its empty line the part begins. */
static int take_header(struct multipart *m, char c, struct err *err)
{
    if (c == '\0')
        return malformed(err, "a part's header holds a NUL");
    if (m->header_len == sizeof m->header)
        return malformed(err, "a part's header is too long");
    m->header[m->header_len++] = c;
    size_t n = m->header_len;
    bool at_end = (n == 2 && memcmp(m->header, "\r\n", 2) == 0) ||
                  (n >= 4 && memcmp(m->header + n - 4, "\r\n\r\n", 4) == 0);
    if (!at_end)
        return 0;

    char *name = NULL, *file_name = NULL;
    for (char *line = m->header; line[0] != '\r';) {
        char *end = memchr(line, '\r', (size_t)(m->header + n - line));
        if (end == NULL || end[1] != '\n')
            return malformed(err, "a part's header cannot be read");
        *end = '\0';
        if (line[strcspn(line, "\n")] != '\0')
            return malformed(err, "a part's header cannot be read");
        int result = take_header_line(line, &name, &file_name, err);
        if (result < 0)
            return result;
        line = end + 2;
    }
    if (name == NULL)
        return malformed(err, "a part has no name");
    m->state = IN_DATA;
    m->matched = m->lent = 2; /* an empty part: its delimiter follows the header at once */
    return m->events->part(m->context, name, file_name, err);
}

int multipart_feed(struct multipart *m, const char *bytes, size_t len, struct err *err)
{
    for (size_t at = 0; at < len;) {
        size_t taken = 1;
        int result = 0;
        if (m->state == IN_EPILOGUE)
            return 0;
        if (m->state == IN_PREAMBLE || m->state == IN_DATA)
            result = take_data(m, bytes + at, len - at, &taken, err);
        else if (m->state == IN_DELIMITER_TAIL)
            result = take_tail(m, bytes[at], err);
        else
            result = take_header(m, bytes[at], err);
        if (result < 0)
            return result;
        at += taken;
    }
    return 0;
}

int multipart_end(const struct multipart *m, struct err *err)
{
    return m->state == IN_EPILOGUE ? 0 : malformed(err, "its end is missing");
}
