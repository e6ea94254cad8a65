#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "sha256.h"

enum { NONCE_BYTES = 12, TAG_BYTES = 16, PLAIN_MAX = 1024 * 1024, HEX_LEN = 64 };

static const char hex_digits[] = "0123456789abcdef";

static int hex_value(char c)
{
    const char *at = c ? strchr(hex_digits, c) : NULL;

    return at ? (int)(at - hex_digits) : -1;
}

static bool from_hex(const char *hex, unsigned char *ret, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int high = hex_value(hex[2 * i]), low = high < 0 ? -1 : hex_value(hex[2 * i + 1]);
        if (low < 0)
            return false;
        ret[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static void to_hex(const unsigned char *bytes, size_t count, char *ret)
{
    for (size_t i = 0; i < count; i++) {
        ret[2 * i] = hex_digits[bytes[i] >> 4];
        ret[2 * i + 1] = hex_digits[bytes[i] & 15];
    }
    ret[2 * count] = '\0';
}

static int random_bytes(unsigned char *ret, size_t count, struct err *err)
{
    ssize_t got;

    do
        got = getrandom(ret, count, 0);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)count ? 0 : err_set_errno(err, -E_IO, errno, "get random bytes");
}

void seal_wipe(void *bytes, unsigned long len)
{
    explicit_bzero(bytes, len);
}

bool seal_is_sealed(const char *text)
{
    return strncmp(text, SEAL_PREFIX, sizeof SEAL_PREFIX - 1) == 0;
}

bool seal_is_whole(const char *params)
{
    return strncmp(params, SEAL_WHOLE_PREFIX, sizeof SEAL_WHOLE_PREFIX - 1) == 0;
}

int seal_key_of(const char *password, struct seal_key *ret, struct err *err)
{
    char hex[SHA256_TEXT_MAX];
    int rc = sha256_hex(password, strlen(password), hex, err);

    if (!rc)
        from_hex(hex, ret->bytes, sizeof ret->bytes);
    seal_wipe(hex, sizeof hex);
    return rc;
}

/* --- the key in a file --- */

static int read_key(const char *path, struct seal_key *ret, struct err *err)
{
    char *text = NULL;
    int rc = fs_read_small(path, HEX_LEN + 1, &text, err);

    if (rc)
        return rc;
    if (strlen(text) < HEX_LEN || !from_hex(text, ret->bytes, sizeof ret->bytes))
        rc = err_set(err, -E_CORRUPT, "'%.300s' holds no key", path);
    seal_wipe(text, strlen(text));
    free(text);
    return rc;
}

static int sync_dir(const char *dir, struct err *err)
{
    int fd = fs_open_dir(dir, err);

    if (fd < 0)
        return fd;
    int rc = fsync(fd) == 0
                 ? 0
                 : err_set_errno(err, err_from_errno(errno), errno, "fsync '%.300s'", dir);
    close(fd);
    return rc;
}

/* Written beside and linked, which never replaces: of several makers one wins, whole. */
static int write_key(const char *dir, const char *path, const char *beside, struct err *err)
{
    unsigned char bytes[SEAL_KEY_BYTES];
    char hex[HEX_LEN + 2];
    int rc = random_bytes(bytes, sizeof bytes, err);

    if (rc)
        return rc;
    to_hex(bytes, sizeof bytes, hex);
    memcpy(hex + HEX_LEN, "\n", 2);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        rc = err_set_errno(err, err_from_errno(errno), errno, "create '%.300s'", beside);
    else
        rc = fs_write_all(fd, hex, HEX_LEN + 1, beside, err);
    if (!rc && fsync(fd) != 0)
        rc = err_set_errno(err, err_from_errno(errno), errno, "fsync '%.300s'", beside);
    if (fd >= 0)
        close(fd);
    if (!rc && link(beside, path) != 0 && errno != EEXIST)
        rc = err_set_errno(err, err_from_errno(errno), errno, "create '%.300s'", path);
    if (!rc)
        rc = sync_dir(dir, err);
    if (fd >= 0)
        unlink(beside);
    seal_wipe(bytes, sizeof bytes);
    seal_wipe(hex, sizeof hex);
    return rc;
}

int seal_key_of_file(const char *dir, struct seal_key *ret, struct err *err)
{
    char *path = NULL, *beside = NULL;
    int rc = -E_NO_MEMORY;

    if (asprintf(&path, "%s/.secret-key", dir) < 0)
        path = NULL;
    if (!path || asprintf(&beside, "%s/.secret-key.%ld", dir, (long)getpid()) < 0)
        beside = NULL;
    if (path && beside) {
        rc = read_key(path, ret, err);
        if (rc == -E_NOT_FOUND) {
            unlink(beside); /* of a process that had our number */
            rc = write_key(dir, path, beside, err);
            rc = rc ? rc : read_key(path, ret, err);
        }
    } else {
        err_set(err, rc, "no memory for a key");
    }
    free(path);
    free(beside);
    return rc;
}

/* --- sealing --- */

static int begin(EVP_CIPHER_CTX *c, bool seal, const struct seal_key *key,
                 const unsigned char *nonce, const char *context)
{
    int n;

    return c && EVP_CipherInit_ex(c, EVP_aes_256_gcm(), NULL, key->bytes, nonce, seal) == 1 &&
           EVP_CipherUpdate(c, NULL, &n, (const unsigned char *)context,
                            (int)strlen(context)) == 1;
}

/* bytes: nonce, cipher text, tag. */
static bool seal_bytes(const struct seal_key *key, const char *context, const char *plain,
                       size_t len, unsigned char *bytes)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    unsigned char *out = bytes + NONCE_BYTES;
    int n = 0, last = 0;
    bool ok =
        begin(c, true, key, bytes, context) &&
        EVP_CipherUpdate(c, out, &n, (const unsigned char *)plain, (int)len) == 1 &&
        EVP_CipherFinal_ex(c, out + n, &last) == 1 &&
        EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, bytes + NONCE_BYTES + len) == 1;

    EVP_CIPHER_CTX_free(c);
    return ok;
}

static bool open_bytes(const struct seal_key *key, const char *context, unsigned char *bytes,
                       size_t len, char *ret_plain)
{
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    unsigned char *out = (unsigned char *)ret_plain;
    int n = 0, last = 0;
    bool ok = begin(c, false, key, bytes, context) &&
              EVP_CipherUpdate(c, out, &n, bytes + NONCE_BYTES, (int)len) == 1 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, TAG_BYTES,
                                  bytes + NONCE_BYTES + len) == 1 &&
              EVP_CipherFinal_ex(c, out + n, &last) == 1;

    EVP_CIPHER_CTX_free(c);
    return ok;
}

char *seal_text(const struct seal_key *key, const char *context, const char *plain,
                struct err *err)
{
    const size_t prefix = sizeof SEAL_PREFIX - 1;
    size_t len = strlen(plain), total = NONCE_BYTES + len + TAG_BYTES;

    if (len > PLAIN_MAX) {
        err_set(err, -E_TOO_BIG, "longer than %d bytes", PLAIN_MAX);
        return NULL;
    }
    unsigned char *bytes = malloc(total);
    char *text = malloc(prefix + 2 * total + 1);
    int rc = bytes && text ? random_bytes(bytes, NONCE_BYTES, err)
                           : err_set(err, -E_NO_MEMORY, "no memory to encrypt a secret");
    if (!rc && !seal_bytes(key, context, plain, len, bytes))
        rc = err_set(err, -E_NO_MEMORY, "libcrypto cannot encrypt a secret");
    if (!rc) {
        memcpy(text, SEAL_PREFIX, prefix);
        to_hex(bytes, total, text + prefix);
    }
    free(bytes);
    if (!rc)
        return text;
    free(text);
    return NULL;
}

char *seal_open(const struct seal_key *key, const char *context, const char *sealed,
                struct err *err)
{
    const char *hex = sealed && seal_is_sealed(sealed) ? sealed + sizeof SEAL_PREFIX - 1 : "";
    size_t total = strlen(hex) / 2;
    unsigned char *bytes = malloc(total + 1);
    char *plain = malloc(total + 1);
    bool ok = bytes && plain;

    if (!ok)
        err_set(err, -E_NO_MEMORY, "no memory to decrypt a secret");
    if (ok) {
        size_t len = total < NONCE_BYTES + TAG_BYTES ? 0 : total - NONCE_BYTES - TAG_BYTES;
        ok = total >= NONCE_BYTES + TAG_BYTES && strlen(hex) == 2 * total &&
             from_hex(hex, bytes, total) && open_bytes(key, context, bytes, len, plain);
        if (ok)
            plain[len] = '\0';
        else
            err_set(err, -E_BAD_VALUE, "was encrypted with another key");
    }
    free(bytes);
    if (ok)
        return plain;
    free(plain);
    return NULL;
}
