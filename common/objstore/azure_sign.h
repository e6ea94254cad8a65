/* azure_sign.h - signing a request to Azure Storage with the account's key ("Shared Key"), and
 * the digests and base64 that go with it. Beside sha256.c the one place that knows libcrypto.
 *
 * After "Authorize with Shared Key" of the Azure Storage services' REST reference: HMAC-SHA256
 * of a text made of the method, some headers and the path, in base64. Private to this room.
 * Any thread; nothing blocks. */
#ifndef OBJSTORE_AZURE_SIGN_H
#define OBJSTORE_AZURE_SIGN_H

#include <stdbool.h>
#include <stddef.h>

#include "azure_account.h"
#include "buf.h"

/* A header, or a parameter of the query: text as it is meant, not escaped. */
struct azure_pair {
    const char *name, *value;
};

struct azure_signed {
    const char *method;
    const char *path; /* as in the URL, escaped, the account's own path in front */
    const struct azure_pair *query, *headers; /* ended by a NULL name, in any order */
    size_t body_len;
};

/* The text that is signed. */
void azure_string_to_sign(const struct azure_account *a, const struct azure_signed *request,
                          struct buf *out);

/* "SharedKey NAME:SIGNATURE", the value of Authorization. -E_NO_MEMORY. */
int azure_sign(const struct azure_account *a, const struct azure_signed *request,
               struct buf *out, struct err *err);

enum { MD5_BASE64_MAX = 25 };

int azure_md5_base64(const void *bytes, size_t len, char ret_text[MD5_BASE64_MAX],
                     struct err *err);

/* Four characters for every three bytes, and a NUL. */
void azure_base64_encode(const void *bytes, size_t len, char *ret_text);
bool azure_base64_decode(const char *text, unsigned char *ret_bytes, size_t size,
                         size_t *ret_len);

#endif
