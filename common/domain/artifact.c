#include "artifact.h"

#include <string.h>

static bool segment_is_valid(const char *s, size_t len)
{
    static const char suffix[] = ".part";
    const size_t suffix_len = sizeof suffix - 1;

    if (len == 0 || len > ARTIFACT_SEGMENT_MAX || s[0] == '.')
        return false;
    if (len >= suffix_len && memcmp(s + len - suffix_len, suffix, suffix_len) == 0)
        return false;
    return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") >=
           len;
}

bool artifact_key_is_valid(const char *key)
{
    if (!key || strlen(key) >= ARTIFACT_KEY_MAX)
        return false;
    for (;;) {
        size_t len = strcspn(key, "/");
        if (!segment_is_valid(key, len))
            return false;
        if (key[len] == '\0')
            return true;
        key += len + 1;
    }
}
