#include "tickets.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct tickets *tickets_map(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size != sizeof(struct tickets))
        return NULL;
    void *p = mmap(NULL, sizeof(struct tickets), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

struct tickets *tickets_new(int *ret_fd)
{
    int fd = memfd_create("tickets", MFD_CLOEXEC);
    struct tickets *t = NULL;

    if (fd < 0)
        return NULL;
    if (ftruncate(fd, sizeof *t) == 0)
        t = tickets_map(fd);
    if (t)
        *ret_fd = fd;
    else
        close(fd);
    return t;
}

void tickets_free(struct tickets *t)
{
    if (t)
        munmap(t, sizeof *t);
}
