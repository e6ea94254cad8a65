#include "parquet_out.h"

#include <errno.h>
#include <unistd.h>

#include "fs.h"
#include "plays.h"

enum { COPY_BYTES = 64 * 1024 };

struct place {
    int fd; /* of the output or of the temporary file; -1: not open yet */
    const char *temp_dir;
};

static int begin(void *arg, struct parquet_sink *ret, struct err *err)
{
    struct place *p = arg;

    if (p->fd < 0)
        p->fd = fs_open_nameless(p->temp_dir, err);
    if (p->fd < 0)
        return p->fd;
    if (ftruncate(p->fd, 0) != 0 || lseek(p->fd, 0, SEEK_SET) != 0)
        return err_set_errno(err, -E_IO, errno, "empty the output");
    *ret = parquet_fd_sink(&p->fd);
    return 0;
}

static int copy(int from, int to, struct err *err)
{
    char bytes[COPY_BYTES];
    ssize_t got;

    for (off_t at = 0; (got = pread(from, bytes, sizeof bytes, at)) != 0; at += got) {
        int rc = got < 0 ? err_set_errno(err, -E_IO, errno, "read a temporary file")
                         : fs_write_all(to, bytes, (size_t)got, "output", err);
        if (rc)
            return rc;
    }
    return 0;
}

int parquet_out_run(int in_fd, const struct outfile *out, int rejects_fd,
                    const struct csv_options *options, struct csv_stats *ret_stats,
                    struct err *err)
{
    bool twice = out->part[0] != '\0'; /* a file of our own */
    struct place place = {twice ? out->fd : -1,
                          options->temp_dir ? options->temp_dir : "/var/tmp"};
    const struct plays_target target = {begin, &place};
    int rc = plays_to_parquet(in_fd, &target, rejects_fd, options, ret_stats, err);

    if (rc == 0 && !twice)
        rc = copy(place.fd, out->fd, err);
    if (!twice && place.fd >= 0)
        close(place.fd);
    return rc;
}
