/* artifact.h - what names a file in the object store: key, size, digest.
 *
 * A key is a relative path of segments [A-Za-z0-9._-]+ joined by '/', at most 255 bytes; a
 * segment has at most 250 (a file name holds 255, and ".part" is put behind it while it is
 * written), does not start with '.' and does not end in ".part". So a key can never leave the
 * store's root, on any file system or in any URL. Pure; safe from any thread. */
#ifndef DOMAIN_ARTIFACT_H
#define DOMAIN_ARTIFACT_H

#include <stdbool.h>
#include <stdint.h>

enum { ARTIFACT_KEY_MAX = 256, ARTIFACT_SEGMENT_MAX = 250, SHA256_TEXT_MAX = 65 };

struct artifact {
    char key[ARTIFACT_KEY_MAX];   /* "" for none */
    uint64_t size;                /* bytes */
    char sha256[SHA256_TEXT_MAX]; /* lower-case hex, or "" when not known */
};

bool artifact_key_is_valid(const char *key);

#endif
