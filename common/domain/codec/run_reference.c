/* run_reference.c - references within strings: found, and taken apart. */
#include <string.h>

#include "run_definition_impl.h"

/* -- pieces -- */

struct piece piece_next(const char **at)
{
    const char *from = *at, *stop = from;

    if (*from == '\0')
        return (struct piece){PIECE_END, from, 0};
    if (strncmp(from, "$${", 3) == 0) {
        *at = from + 3;
        return (struct piece){PIECE_TEXT, from + 1, 2};
    }
    if (strncmp(from, "${", 2) == 0) {
        const char *end = strchr(from, '}');
        *at = end ? end + 1 : from + strlen(from);
        return end ? (struct piece){PIECE_REFERENCE, from + 2, (size_t)(end - from) - 2}
                   : (struct piece){PIECE_BROKEN, from, strlen(from)};
    }
    do {
        stop = strchr(stop + 1, '$');
    } while (stop && strncmp(stop, "${", 2) != 0 && strncmp(stop, "$${", 3) != 0);
    *at = stop ? stop : from + strlen(from);
    return (struct piece){PIECE_TEXT, from, (size_t)(*at - from)};
}

bool piece_is_all(const char *text, struct piece *ret)
{
    *ret = piece_next(&text);
    return ret->kind == PIECE_REFERENCE && *text == '\0';
}

/* The part up to the next dot; NULL when there is none or it is empty. */
static const char *cut_part(char **at)
{
    char *part = *at;
    size_t len = part ? strcspn(part, ".") : 0;

    if (len == 0)
        return NULL;
    *at = part[len] ? part + len + 1 : NULL;
    part[len] = '\0';
    return part;
}

/* "a[0].b" as "a.0.b"; false for brackets that hold anything else. */
static bool take_brackets(char *text)
{
    char *to = text;

    for (const char *at = text; *at;) {
        size_t digits = *at == '[' ? strspn(at + 1, "0123456789") : 0;
        if (*at == ']' || (*at == '[' && (digits == 0 || at[1 + digits] != ']')))
            return false;
        if (*at != '[') {
            *to++ = *at++;
            continue;
        }
        *to++ = '.';
        memmove(to, at + 1, digits);
        to += digits;
        at += digits + 2;
        if (*at && *at != '.' && *at != '[')
            return false;
    }
    *to = '\0';
    return true;
}

bool ref_parse(const struct piece *p, struct ref *ret)
{
    memset(ret, 0, sizeof *ret);
    if (p->kind != PIECE_REFERENCE || p->len == 0 || p->len >= sizeof ret->text)
        return false;
    memcpy(ret->text, p->text, p->len);
    memcpy(ret->copy, p->text, p->len);
    if (ret->text[p->len - 1] == '.' || !take_brackets(ret->text))
        return false;
    char *at = ret->text;
    const char *first = cut_part(&at);
    ret->name = cut_part(&at);
    if (!first || !ret->name)
        return false;
    if (strcmp(first, "run") == 0) {
        ret->kind = REF_RUN;
        return !at && (strcmp(ret->name, "id") == 0 || strcmp(ret->name, "name") == 0);
    }
    ret->kind = strcmp(first, "steps") == 0 ? REF_STEP : REF_INPUT;
    if (ret->kind == REF_INPUT && strcmp(first, "input") != 0)
        return false;
    const char *output = ret->kind == REF_STEP ? cut_part(&at) : "output";
    if (!output || strcmp(output, "output") != 0)
        return false;
    while (at) {
        const char *part = cut_part(&at);
        if (!part || ret->path_count == REF_PATH_MAX)
            return false;
        ret->path[ret->path_count++] = part;
    }
    return true;
}
