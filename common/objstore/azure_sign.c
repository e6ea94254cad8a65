#include "azure_sign.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { PAIRS_MAX = 24, HMAC_BYTES = 32, BASE64_HMAC_MAX = 48 };

/* The standard headers that are signed by their place alone, in this order; the length comes
 * third. The date is empty: x-ms-date tells it. */
static const char *const by_place[] = {"Content-Encoding",
                                       "Content-Language",
                                       NULL,
                                       "Content-MD5",
                                       "Content-Type",
                                       NULL,
                                       "If-Modified-Since",
                                       "If-Match",
                                       "If-None-Match",
                                       "If-Unmodified-Since",
                                       "Range"};
enum { BY_PLACE = sizeof by_place / sizeof by_place[0], LENGTH_PLACE = 2 };

static const char *value_of(const struct azure_pair *pairs, const char *name)
{
    for (; pairs && pairs->name; pairs++) {
        if (strcasecmp(pairs->name, name) == 0)
            return pairs->value;
    }
    return "";
}

static void append_lower(struct buf *out, const char *text)
{
    for (; *text; text++)
        buf_append_char(out, (char)tolower((unsigned char)*text));
}

/* Those whose name starts with prefix, sorted; how many. */
static size_t sort_pairs(const struct azure_pair *pairs, const char *prefix,
                         const struct azure_pair *ret[PAIRS_MAX])
{
    size_t count = 0;

    for (; pairs && pairs->name && count < PAIRS_MAX; pairs++) {
        if (strncasecmp(pairs->name, prefix, strlen(prefix)) != 0)
            continue;
        size_t at = count++;
        for (; at > 0 && strcasecmp(pairs->name, ret[at - 1]->name) < 0; at--)
            ret[at] = ret[at - 1];
        ret[at] = pairs;
    }
    return count;
}

void azure_string_to_sign(const struct azure_account *a, const struct azure_signed *request,
                          struct buf *out)
{
    const struct azure_pair *sorted[PAIRS_MAX];

    buf_printf(out, "%s\n", request->method);
    for (size_t i = 0; i < BY_PLACE; i++) {
        if (by_place[i])
            buf_append_str(out, value_of(request->headers, by_place[i]));
        else if (i == LENGTH_PLACE && request->body_len > 0)
            buf_printf(out, "%zu", request->body_len);
        buf_append_char(out, '\n');
    }
    size_t count = sort_pairs(request->headers, "x-ms-", sorted);
    for (size_t i = 0; i < count; i++) {
        append_lower(out, sorted[i]->name);
        buf_printf(out, ":%s\n", sorted[i]->value);
    }
    buf_printf(out, "/%s%s", a->name, request->path);
    count = sort_pairs(request->query, "", sorted);
    for (size_t i = 0; i < count; i++) {
        buf_append_char(out, '\n');
        append_lower(out, sorted[i]->name);
        buf_printf(out, ":%s", sorted[i]->value);
    }
}

int azure_sign(const struct azure_account *a, const struct azure_signed *request,
               struct buf *out, struct err *err)
{
    struct buf text = BUF_INIT;
    unsigned char mac[EVP_MAX_MD_SIZE];
    char base64[BASE64_HMAC_MAX];
    unsigned mac_len = 0;

    azure_string_to_sign(a, request, &text);
    bool ok = buf_ok(&text) && HMAC(EVP_sha256(), a->key, (int)a->key_len,
                                    (const unsigned char *)text.data, text.len, mac, &mac_len);
    buf_release(&text);
    if (!ok || mac_len != HMAC_BYTES)
        return err_set(err, -E_NO_MEMORY, "no memory to sign a request");
    azure_base64_encode(mac, mac_len, base64);
    buf_printf(out, "SharedKey %s:%s", a->name, base64);
    return buf_ok(out) ? 0 : err_set(err, -E_NO_MEMORY, "no memory to sign a request");
}

int azure_md5_base64(const void *bytes, size_t len, char ret_text[MD5_BASE64_MAX],
                     struct err *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_len = 0;

    if (EVP_Digest(bytes, len, digest, &digest_len, EVP_md5(), NULL) != 1 || digest_len != 16)
        return err_set(err, -E_NO_MEMORY, "libcrypto could not compute an MD5 digest");
    azure_base64_encode(digest, digest_len, ret_text);
    return 0;
}

static const char alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void azure_base64_encode(const void *bytes, size_t len, char *ret_text)
{
    const unsigned char *from = bytes;

    for (size_t i = 0; i < len; i += 3) {
        uint32_t three = (uint32_t)from[i] << 16;
        three |= i + 1 < len ? (uint32_t)from[i + 1] << 8 : 0;
        three |= i + 2 < len ? from[i + 2] : 0;
        *ret_text++ = alphabet[three >> 18];
        *ret_text++ = alphabet[three >> 12 & 63];
        *ret_text++ = i + 1 < len ? alphabet[three >> 6 & 63] : '=';
        *ret_text++ = i + 2 < len ? alphabet[three & 63] : '=';
    }
    *ret_text = '\0';
}

bool azure_base64_decode(const char *text, unsigned char *ret_bytes, size_t size,
                         size_t *ret_len)
{
    size_t len = strlen(text), count = 0;
    uint32_t bits = 0;

    if (len == 0 || len % 4 != 0)
        return false;
    size_t pad = text[len - 1] == '=' ? (text[len - 2] == '=' ? 2 : 1) : 0;
    if (len / 4 * 3 - pad > size)
        return false;
    for (size_t i = 0; i < len; i++) {
        const char *at = i < len - pad ? strchr(alphabet, text[i]) : alphabet;
        if (!at)
            return false;
        bits = bits << 6 | (uint32_t)(at - alphabet);
        for (int byte = 2; i % 4 == 3 && byte >= 0; byte--) {
            if (count < len / 4 * 3 - pad)
                ret_bytes[count++] = (unsigned char)(bits >> (8 * byte));
        }
    }
    *ret_len = count;
    return true;
}
