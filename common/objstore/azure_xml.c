#include "azure_xml.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The first `text` of at..end, or NULL. */
static const char *search(const char *at, const char *end, const char *text)
{
    return at < end ? memmem(at, (size_t)(end - at), text, strlen(text)) : NULL;
}

/* The tag <name>, <name/> or <name attributes> at or behind `at`: its '<', or NULL. */
static const char *find_tag(const char *at, const char *end, const char *name)
{
    size_t len = strlen(name);

    while ((at = search(at, end, "<")) != NULL) {
        if ((size_t)(end - at) > len + 1 && memcmp(at + 1, name, len) == 0 &&
            strchr("> /\t\r\n", at[len + 1]))
            return at;
        at++;
    }
    return NULL;
}

bool xml_find(const struct xml_part *part, const char *name, struct xml_part *ret,
              struct xml_part *ret_after)
{
    const char *tag = find_tag(part->at, part->end, name);
    const char *open = tag ? search(tag, part->end, ">") : NULL;

    if (!open)
        return false;
    if (open[-1] == '/') {
        *ret = (struct xml_part){open, open};
        if (ret_after)
            *ret_after = (struct xml_part){open + 1, part->end};
        return true;
    }
    size_t len = strlen(name);
    for (const char *at = open + 1; (at = search(at, part->end, "</")) != NULL; at += 2) {
        if ((size_t)(part->end - at) <= len + 2 || memcmp(at + 2, name, len) != 0 ||
            at[len + 2] != '>')
            continue;
        *ret = (struct xml_part){open + 1, at};
        if (ret_after)
            *ret_after = (struct xml_part){at + len + 3, part->end};
        return true;
    }
    return false;
}

static size_t put_utf8(char *to, uint32_t point)
{
    if (point < 0x80) {
        to[0] = (char)point;
        return 1;
    }
    size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = len - 1; i > 0; i--, point >>= 6)
        to[i] = (char)(0x80 | (point & 0x3F));
    to[0] = (char)(leads[len] | point);
    return len;
}

/* &name; at `at`: the bytes it stands for into `to` (4 at most), and where it ends; NULL when
 * it is no entity. */
static const char *resolve(const char *at, const char *end, char *to, size_t *ret_len)
{
    static const struct {
        const char *name;
        char c;
    } names[] = {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
    const char *semicolon = search(at, end, ";");
    char text[12];

    if (!semicolon || semicolon - at - 1 >= (ptrdiff_t)sizeof text)
        return NULL;
    size_t len = (size_t)(semicolon - at) - 1;
    memcpy(text, at + 1, len);
    text[len] = '\0';
    if (text[0] == '#') {
        bool is_hex = text[1] == 'x';
        char *rest;
        unsigned long point = strtoul(text + 1 + is_hex, &rest, is_hex ? 16 : 10);
        if (*rest || point == 0 || point > 0x10FFFF)
            return NULL;
        *ret_len = put_utf8(to, (uint32_t)point);
        return semicolon + 1;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].name, text) == 0) {
            *to = names[i].c;
            *ret_len = 1;
            return semicolon + 1;
        }
    }
    return NULL;
}

bool xml_text(const struct xml_part *part, char *ret_text, size_t size)
{
    size_t len = 0;

    for (const char *at = part->at; at < part->end;) {
        size_t added = 1;
        if (len + 5 > size && (*at == '&' || len + 1 >= size))
            return false;
        if (*at == '&')
            at = resolve(at, part->end, ret_text + len, &added);
        else if (*at != '<')
            ret_text[len] = *at++;
        else
            at = NULL;
        if (!at)
            return false;
        len += added;
    }
    if (len >= size)
        return false;
    ret_text[len] = '\0';
    return true;
}
