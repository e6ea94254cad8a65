/* sha256.c - digests by way of OpenSSL's EVP interface. */
#include "sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

enum { READ_BYTES = 1 << 17 };

static int failed(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "libcrypto could not compute a SHA-256 digest");
}

int sha256_init(struct sha256 *h, struct err *err)
{
    h->state = EVP_MD_CTX_new();
    if (!h->state || EVP_DigestInit_ex(h->state, EVP_sha256(), NULL) != 1) {
        sha256_release(h);
        return failed(err);
    }
    return 0;
}

void sha256_release(struct sha256 *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->state);
    h->state = NULL;
}

int sha256_add(struct sha256 *h, const void *bytes, size_t len, struct err *err)
{
    return EVP_DigestUpdate(h->state, bytes, len) == 1 ? 0 : failed(err);
}

int sha256_end(struct sha256 *h, char ret_hex[SHA256_TEXT_MAX], struct err *err)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char digest[EVP_MAX_MD_SIZE];

    if (EVP_DigestFinal_ex(h->state, digest, NULL) != 1)
        return failed(err);
    for (int i = 0; i < (SHA256_TEXT_MAX - 1) / 2; i++) {
        ret_hex[2 * i] = digits[digest[i] >> 4];
        ret_hex[2 * i + 1] = digits[digest[i] & 15];
    }
    ret_hex[SHA256_TEXT_MAX - 1] = '\0';
    return 0;
}

int sha256_hex(const void *bytes, size_t len, char ret_hex[SHA256_TEXT_MAX], struct err *err)
{
    struct sha256 h;
    int rc = sha256_init(&h, err);

    if (!rc)
        rc = sha256_add(&h, bytes, len, err);
    if (!rc)
        rc = sha256_end(&h, ret_hex, err);
    sha256_release(&h);
    return rc;
}

/* Adds the whole file to h. */
static int add_file(struct sha256 *h, int fd, uint64_t *ret_size, struct err *err)
{
    unsigned char *block = malloc(READ_BYTES);
    uint64_t size = 0;
    int rc = 0;

    if (!block)
        return err_set(err, -E_NO_MEMORY, "no memory to read a file for its digest");
    while (!rc) {
        ssize_t got = pread(fd, block, READ_BYTES, (off_t)size);
        if (got == 0)
            break;
        if (got > 0) {
            size += (uint64_t)got;
            rc = sha256_add(h, block, (size_t)got, err);
        } else if (errno != EINTR) {
            rc = err_set_errno(err, -E_IO, errno, "read a file for its digest");
        }
    }
    free(block);
    *ret_size = size;
    return rc;
}

int sha256_of_fd(int fd, char ret_hex[SHA256_TEXT_MAX], uint64_t *ret_size, struct err *err)
{
    struct sha256 h;
    uint64_t size = 0;
    int rc = sha256_init(&h, err);

    if (!rc)
        rc = add_file(&h, fd, &size, err);
    if (!rc)
        rc = sha256_end(&h, ret_hex, err);
    if (!rc)
        *ret_size = size;
    sha256_release(&h);
    return rc;
}
