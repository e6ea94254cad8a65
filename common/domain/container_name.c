#include "container_name.h"

#include <stddef.h>
#include <string.h>

static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";

bool container_name_is_valid(const char *name)
{
    if (!name)
        return false;
    size_t len = strlen(name);

    return len > 0 && len < CONTAINER_NAME_MAX && strspn(name, letters) == len &&
           name[0] != '-' && name[len - 1] != '-' && !strstr(name, "--");
}

/* The character as it stands in a name; locales have no say. */
static char as_letter(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
}

bool container_name_from_path(const char *path, char ret_name[CONTAINER_NAME_MAX])
{
    size_t end = strlen(path), at, len = 0;

    while (end > 0 && path[end - 1] == '/')
        end--;
    for (at = end; at > 0 && path[at - 1] != '/'; at--)
        ;
    for (; at < end && len < CONTAINER_NAME_MAX - 1; at++) {
        char c = as_letter(path[at]);
        if (c != '-' || (len > 0 && ret_name[len - 1] != '-'))
            ret_name[len++] = c;
    }
    while (len > 0 && ret_name[len - 1] == '-')
        len--;
    ret_name[len] = '\0';
    return len > 0;
}
