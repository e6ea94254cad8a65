/* local_walk.c - walks over the directory tree of a local object store. Everything opens
 * without following a symlink. */
#include "local_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"
#include "tree.h"

struct walk;
typedef int walk_file_fn(struct walk *w, int dir_fd, const char *name, const struct stat *st);
typedef void walk_folder_fn(struct walk *w, int dir_fd, const char *name,
                            const struct stat *st);

struct walk {
    walk_file_fn *file;
    walk_folder_fn *folder;   /* after what is in it; not for those in the root. May be NULL */
    char path[PART_NAME_MAX]; /* of the entry being looked at, from the root */
    const char *except;       /* the folder in the root to leave out; "" for none */
    int64_t now_ms;
    struct err *err;
    /* list */
    const char *prefix;
    objstore_visit_fn *visit;
    void *arg;
    /* sweep */
    int64_t older_than_ms;
    uint64_t removed;
};

static int64_t age_ms(int64_t now_ms, const struct stat *st)
{
    int64_t written_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;

    return now_ms > written_ms ? now_ms - written_ms : 0;
}

static int walk_dir(struct walk *w, int dir_fd, size_t path_len);

/* Is w->path, of that length, on the way to the prefix or beyond it? A folder that many share
 * has few that are. */
static bool is_on_the_way(const struct walk *w, size_t len)
{
    size_t prefix = w->prefix ? strlen(w->prefix) : 0;

    return prefix == 0 || strncmp(w->path, w->prefix, len < prefix ? len : prefix) == 0;
}

/* path_len: of the directory's own path with its slash. An entry that went away since it was
 * read is passed over. */
static int walk_entry(struct walk *w, int dir_fd, const char *name, size_t path_len)
{
    size_t len = strlen(name);
    struct stat st;

    if (name[0] == '.' || (path_len == 0 && strcmp(name, w->except) == 0) ||
        path_len + len + 1 >= sizeof w->path)
        return 0;
    memcpy(w->path + path_len, name, len + 1);
    if (!is_on_the_way(w, path_len + len) ||
        fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    if (S_ISREG(st.st_mode))
        return w->file(w, dir_fd, name, &st);
    if (!S_ISDIR(st.st_mode))
        return 0;

    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : err_set_errno(w->err, -E_IO, errno, "open directory '%s'", w->path);
    memcpy(w->path + path_len + len, "/", 2);
    int rc = walk_dir(w, fd, path_len + len + 1);
    if (!rc && w->folder && path_len > 0)
        w->folder(w, dir_fd, name, &st);
    return rc;
}

/* Takes dir_fd. */
static int walk_dir(struct walk *w, int dir_fd, size_t path_len)
{
    DIR *dir = fdopendir(dir_fd);
    int rc = 0;

    if (!dir) {
        rc = err_set_errno(w->err, -E_IO, errno, "read directory '%s'", w->path);
        close(dir_fd);
        return rc;
    }
    while (!rc) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno && errno != ENOENT) /* the directory itself was removed */
                rc = err_set_errno(w->err, -E_IO, errno, "read directory '%s'", w->path);
            break;
        }
        rc = walk_entry(w, dir_fd, entry->d_name, path_len);
    }
    closedir(dir);
    return rc;
}

/* Walks the directory `from` of the store ("" for all, else with its slash at the end). One
 * that is not there is an empty one. */
static int walk_store(const char *root, struct walk *w, const char *from)
{
    struct err why = ERR_INIT;
    int fd = -1, root_fd = fs_open_dir(root, &why);

    if (root_fd >= 0) {
        fd = fs_open_beneath(root_fd, *from ? from : ".", O_RDONLY | O_DIRECTORY, 0, &why);
        close(root_fd);
    }
    int rc = root_fd < 0 ? root_fd : fd;
    if (rc == -E_NOT_FOUND)
        return 0;
    if (rc < 0)
        return err_set(w->err, rc, "%s", why.text);
    w->now_ms = clock_wall_ms();
    memcpy(w->path, from, strlen(from) + 1);
    return walk_dir(w, fd, strlen(from));
}

static int list_file(struct walk *w, int dir_fd, const char *name, const struct stat *st)
{
    (void)dir_fd, (void)name;
    if (!objstore_key_is_valid(w->path) || strlen(w->path) < strlen(w->prefix))
        return 0;
    return w->visit(w->path, (uint64_t)st->st_size, age_ms(w->now_ms, st), w->arg);
}

int local_walk_list(const char *root, const char *prefix, objstore_visit_fn *visit, void *arg,
                    struct err *err)
{
    struct walk w = {.file = list_file,
                     .except = "",
                     .prefix = prefix,
                     .visit = visit,
                     .arg = arg,
                     .err = err};
    char from[ARTIFACT_KEY_MAX];
    const char *slash = strrchr(prefix, '/');
    size_t len = slash ? (size_t)(slash + 1 - prefix) : 0;

    if (len >= sizeof from)
        return 0;
    memcpy(from, prefix, len);
    from[len] = '\0';
    return walk_store(root, &w, from);
}

bool local_walk_sweep_file(int dir_fd, const char *name, int64_t older_than_ms)
{
    struct stat st;
    int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return false;
    bool is_held = flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    bool is_old = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
                  age_ms(clock_wall_ms(), &st) >= older_than_ms;
    bool is_removed = !is_held && is_old && unlinkat(dir_fd, name, 0) == 0;
    close(fd);
    return is_removed;
}

static int sweep_file(struct walk *w, int dir_fd, const char *name, const struct stat *st)
{
    size_t len = strlen(name), suffix = sizeof PART_SUFFIX - 1;

    if (len > suffix && strcmp(name + len - suffix, PART_SUFFIX) == 0 &&
        age_ms(w->now_ms, st) >= w->older_than_ms &&
        local_walk_sweep_file(dir_fd, name, w->older_than_ms))
        w->removed++;
    return 0;
}

/* A folder that has just been made for a put, or is not empty, fails and stays; whoever loses
 * the folder between making and using it makes it again. */
static void sweep_folder(struct walk *w, int dir_fd, const char *name, const struct stat *st)
{
    if (age_ms(w->now_ms, st) >= w->older_than_ms)
        unlinkat(dir_fd, name, AT_REMOVEDIR);
}

int local_walk_sweep(const char *root, int64_t older_than_ms, uint64_t *ret_removed,
                     struct err *err)
{
    struct walk w = {.file = sweep_file,
                     .folder = sweep_folder,
                     .except = TREE_FOLDER,
                     .older_than_ms = older_than_ms,
                     .err = err};
    int rc = walk_store(root, &w, "");

    if (!rc)
        *ret_removed = w.removed;
    return rc;
}
