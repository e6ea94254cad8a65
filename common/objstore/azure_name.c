#include "azure_name.h"

#include <ctype.h>
#include <string.h>

enum { CHARACTERS_MAX = 1024 };

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

/* The length of the valid UTF-8 character at `at`, which XML and URLs can carry too; 0 for a
 * byte that has to be escaped. */
static size_t character_len(const unsigned char *at)
{
    static const struct {
        unsigned char mask, lead;
        size_t len;
        unsigned least;
    } forms[] = {{0xE0, 0xC0, 2, 0x80}, {0xF0, 0xE0, 3, 0x800}, {0xF8, 0xF0, 4, 0x10000}};

    if (*at < 0x80)
        return *at >= 0x20 && *at != 0x7F && *at != '\\';
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if ((*at & forms[i].mask) != forms[i].lead)
            continue;
        unsigned point = *at & (unsigned char)~forms[i].mask;
        for (size_t k = 1; k < forms[i].len; k++) {
            if ((at[k] & 0xC0) != 0x80)
                return 0;
            point = point << 6 | (at[k] & 0x3Fu);
        }
        bool is_good = point >= forms[i].least && point <= 0x10FFFF && point >= 0xA0 &&
                       !(point >= 0xD800 && point <= 0xDFFF) && (point & 0xFFFE) != 0xFFFE;
        return is_good ? forms[i].len : 0;
    }
    return 0;
}

static bool is_escaped(const char *name, const char *at)
{
    bool ends_segment = at[1] == '\0' || at[1] == '/';

    switch (*at) {
    case '.':
        return ends_segment;
    case '/':
        return at == name || at[-1] == '/' || at[1] == '\0';
    case '%':
        return is_hex(at[1]) && is_hex(at[2]);
    default:
        return false;
    }
}

static void append_code(struct buf *out, char c)
{
    static const char hex[] = "0123456789ABCDEF";
    char code[3] = {'%', hex[(unsigned char)c >> 4], hex[(unsigned char)c & 15]};

    buf_append(out, code, sizeof code);
}

int azure_name_encode(const char *name, struct buf *out, struct err *err)
{
    size_t characters = 0;

    for (const char *at = name; *at;) {
        size_t len = character_len((const unsigned char *)at);
        if (len == 0 || is_escaped(name, at)) {
            append_code(out, *at++);
            characters += 3;
            continue;
        }
        buf_append(out, at, len);
        at += len;
        characters += len == 4 ? 2 : 1; /* Azure counts in UTF-16 */
    }
    if (!buf_ok(out))
        return err_set(err, -E_NO_MEMORY, "no memory for the name of a blob");
    if (characters > CHARACTERS_MAX)
        return err_set(err, -E_BAD_VALUE,
                       "the name '%.100s…' is too long for Azure, which allows %d characters",
                       name, CHARACTERS_MAX);
    return 0;
}

static unsigned nibble(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

bool azure_name_decode(const char *text, char ret_name[BLOB_NAME_MAX])
{
    size_t len = 0;

    while (*text && len < BLOB_NAME_MAX - 1) {
        if (*text == '%' && is_hex(text[1]) && is_hex(text[2])) {
            ret_name[len] = (char)(nibble(text[1]) << 4 | nibble(text[2]));
            text += 3;
        } else {
            ret_name[len] = *text++;
        }
        if (ret_name[len++] == '\0')
            return false;
    }
    ret_name[len] = '\0';
    return *text == '\0' && len > 0;
}

void azure_url_append(struct buf *out, const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 0x80 && (isalnum(byte) || strchr("-._~/", byte)))
            buf_append_char(out, *text);
        else
            append_code(out, *text);
    }
}

/* The last of these characters could still be one that is escaped by what follows it. */
size_t azure_name_plain_prefix(const char *prefix)
{
    size_t len = 0;

    while (prefix[len] && (isalnum((unsigned char)prefix[len]) || strchr("-_", prefix[len]) ||
                           (strchr("./", prefix[len]) && !is_escaped(prefix, prefix + len))))
        len++;
    while (len > 0 && strchr("./", prefix[len - 1]))
        len--;
    return len;
}
