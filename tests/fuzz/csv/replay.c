/* The fuzz target over every file of the corpus and of the golden cases, as a plain test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_MAX = 1 << 20, HEAD = 3 };

/* For the golden cases, and for what a file of the corpus holds: some first bytes. */
static const char heads[][HEAD] = {
    {0x01, 0x01, 0x00}, {0x7D, 0x0C, 0x01}, {0x43, 0x56, 0x62}, {0x3E, 0x71, 0x04}};

static int replay(const char *dir, const char *name, uint8_t *bytes)
{
    char path[512];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        return 1;
    size_t len = fread(bytes + HEAD, 1, FILE_MAX - HEAD, f);
    fclose(f);
    LLVMFuzzerTestOneInput(bytes + HEAD, len);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        memcpy(bytes, heads[i], HEAD);
        LLVMFuzzerTestOneInput(bytes, len + HEAD);
    }
    return 0;
}

int main(void)
{
    uint8_t *bytes = malloc(FILE_MAX);
    unsigned count = 0;
    int failed = !bytes;

    for (const char *dir = CORPUS_DIRS; *dir && !failed; dir += strlen(dir) + 1) {
        DIR *d = opendir(dir);
        if (!d)
            failed = 1;
        for (struct dirent *e; d && (e = readdir(d)); count++)
            if (e->d_name[0] != '.')
                failed |= replay(dir, e->d_name, bytes);
        if (d)
            closedir(d);
    }
    free(bytes);
    printf("%u files replayed\n", count);
    return failed || count == 0;
}
