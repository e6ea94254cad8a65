/* seal.h - short secrets, encrypted for the time they are kept (AES-256-GCM).
 *
 * A sealed text is printable ASCII and begins with SEAL_PREFIX; it says nothing about the
 * secret but its length. Any thread. */
#ifndef OBJSTORE_SEAL_H
#define OBJSTORE_SEAL_H

#include <stdbool.h>

#include "err.h"

#define SEAL_PREFIX "sealed:1:"

enum { SEAL_KEY_BYTES = 32 };

struct seal_key {
    unsigned char bytes[SEAL_KEY_BYTES];
};

/* The key that a password of any length stands for. Pure. */
int seal_key_of(const char *password, struct seal_key *ret, struct err *err);

/* The key in the file DIR/.secret-key, which is made (mode 0600) by whoever comes first;
 * several processes may. Blocks on the disk. E_CORRUPT when the file holds something else. */
int seal_key_of_file(const char *dir, struct seal_key *ret, struct err *err);

/* malloc'ed; NULL with err set. `context` is bound to the text: the same is needed to open. */
char *seal_text(const struct seal_key *key, const char *context, const char *plain,
                struct err *err);
/* NULL: E_BAD_VALUE for what no seal_text with this key and context has made. */
char *seal_open(const struct seal_key *key, const char *context, const char *sealed,
                struct err *err);

bool seal_is_sealed(const char *text);

/* Params of a task that are sealed as a whole: a JSON object of one member. */
#define SEAL_WHOLE_PREFIX "{\"sealed\":\"" SEAL_PREFIX
#define SEAL_WHOLE_SUFFIX "\"}"
bool seal_is_whole(const char *params);

/* Overwrites a secret in memory, also where the compiler sees no use in it. */
void seal_wipe(void *bytes, unsigned long len);

#endif
