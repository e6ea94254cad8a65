/* The rules of a download: what git's words mean, which entries are taken, how they are packed
 * and put into a folder. Real downloads are in tests/integration/test_repo.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "entry.h"
#include "folder.h"
#include "fs.h"
#include "git.h"
#include "git_env.h"
#include "resolve.h"
#include "says.h"
#include "scratch.h"
#include "tar.h"
#include "tree.h"

#define OID  "0123456789abcdef0123456789abcdef01234567"
#define TASK "01890a5d-ac96-774b-bcce-b302099a8057"

static struct err err;
static const char *word;
static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/segue-repo-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    tree_erase(fd, strrchr(dir, '/') + 1, NULL);
    return close(fd);
}

/* --- what git says --- */

static void test_gits_words_become_an_error_that_says_what_to_do(void **state)
{
    static const struct {
        const char *tail, *word;
        int code;
    } cases[] = {
        {"fatal: repository 'https://h/o/r.git/' not found\n", "no_repository", -E_BAD_INPUT},
        {"fatal: could not read Username for 'https://h': terminal prompts disabled\n",
         "credentials", -E_BAD_INPUT},
        {"fatal: unable to access 'https://h/o/r.git/': The requested URL returned error: "
         "301\n",
         "redirected", -E_BAD_INPUT},
        {"fatal: unable to access 'https://h/o/r.git/': The requested URL returned error: "
         "503\n",
         "server_error", -E_UNAVAILABLE},
        {"fatal: unable to access 'https://h/o/r.git/': Could not resolve host: h\n",
         "unreachable", -E_UNAVAILABLE},
        {"error: RPC failed; curl 28 Operation too slow. Less than 1000 bytes/sec\n"
         "fatal: early EOF\n",
         "stalled", -E_TIMEOUT},
        {"fatal: write error: No space left on device\nfatal: index-pack failed\n", "no_space",
         -E_NO_SPACE},
        {"fatal: write error: File too large\n", "too_big", -E_TOO_BIG},
        {"fatal: unable to access 'https://h/o/r.git/': server certificate verification "
         "failed. "
         "CAfile: none CRLfile: none\n",
         "tls", -E_BAD_INPUT},
        {"fatal: the moon is full\n", "git_failed", -E_UNAVAILABLE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rc = says_explain(cases[i].tail, 128 << 8, "https://h/o/r.git", &word, &err);
        if (rc != cases[i].code || strcmp(word, cases[i].word) != 0)
            fail_msg("%s became %d %s", cases[i].tail, rc, word);
        assert_non_null(strstr(err.text, "'https://h/o/r.git'"));
        assert_null(strstr(err.text, "moon"));
    }
}

static void test_the_name_of_a_repository_is_no_word_of_gits(void **state)
{
    static const char url[] = "https://h/redirect/SSL-certificate.git";

    (void)state;
    says_explain("fatal: repository 'https://h/redirect/SSL-certificate.git/' not found\n",
                 128 << 8, url, &word, &err);
    assert_string_equal(word, "no_repository");
    says_explain("", 127 << 8, url, &word, &err);
    assert_string_equal(word, "no_git");
}

/* --- entries --- */

static void test_entries_are_taken_apart(void **state)
{
    static const char file[] = "100755 blob " OID "     12\ta b/\xc3\xa4";
    static const char link[] = "120000 blob " OID "      4\tl";
    static const char module[] = "160000 commit " OID "       -\ts/m";
    static const char folder[] = "040000 tree " OID "       -\td";
    struct entry e;

    (void)state;
    assert_int_equal(entry_parse(file, sizeof file - 1, &e, &word, &err), 0);
    assert_int_equal(e.kind, ENTRY_FILE);
    assert_int_equal(e.size, 12);
    assert_string_equal(e.oid, OID);
    assert_string_equal(e.path, "a b/\xc3\xa4");
    assert_int_equal(entry_parse(link, sizeof link - 1, &e, &word, &err), 0);
    assert_int_equal(e.kind, ENTRY_LINK);
    assert_int_equal(entry_parse(module, sizeof module - 1, &e, &word, &err), 0);
    assert_int_equal(e.kind, ENTRY_MODULE);
    assert_int_equal(entry_parse(folder, sizeof folder - 1, &e, &word, &err), 0);
    assert_int_equal(e.kind, ENTRY_FOLDER);
}

static void test_a_path_that_could_lead_elsewhere_is_refused(void **state)
{
    static const char *const paths[] = {
        "..",   "../x", "a/../b", "a/..",       "/etc/passwd", "a//b", "a/",    "",
        ".git", ".GIT", "a/.Git", ".git/hooks", ".",           "./a",  "a/./b",
    };
    static const char *const fine[] = {"...",  "..a", ".gitignore", "git", ".gitx/y",
                                       "a/.b", "-x",  "a\\..\\b",   "C:"};
    char line[256];
    struct entry e;

    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        snprintf(line, sizeof line, "100644 blob " OID " 1\t%s", paths[i]);
        if (entry_parse(line, strlen(line), &e, &word, &err) != -E_BAD_INPUT)
            fail_msg("'%s' was taken", paths[i]);
        assert_string_equal(word, "bad_name");
    }
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        snprintf(line, sizeof line, "100644 blob " OID " 1\t%s", fine[i]);
        if (entry_parse(line, strlen(line), &e, &word, &err) != 0)
            fail_msg("'%s': %s", fine[i], err.text);
    }
}

static void test_a_line_of_another_form_is_damage(void **state)
{
    static const char *const lines[] = {
        "",
        "100644",
        "100644 blob " OID,
        "100644 blob " OID " 1",
        "100644 blob " OID " BAD\tx",
        "100644 blob " OID " -\tx",
        "100644 tree " OID " -\tx",
        "777777 blob " OID " 1\tx",
        "100644 blob 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0 1\tx",
    };
    struct entry e;

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (entry_parse(lines[i], strlen(lines[i]), &e, &word, &err) != -E_BAD_INPUT)
            fail_msg("'%s' was taken", lines[i]);
        assert_string_equal(word, "damaged");
    }
}

/* --- git's environment --- */

static const char *value_of(char **env, const char *name)
{
    size_t len = strlen(name);

    for (; *env; env++) {
        if (strncmp(*env, name, len) == 0 && (*env)[len] == '=')
            return *env + len + 1;
    }
    return NULL;
}

static const char *setting_of(char **env, const char *key)
{
    char name[40];

    for (int i = 0;; i++) {
        snprintf(name, sizeof name, "GIT_CONFIG_KEY_%d", i);
        const char *found = value_of(env, name);
        if (!found)
            return NULL;
        if (strcmp(found, key) != 0)
            continue;
        snprintf(name, sizeof name, "GIT_CONFIG_VALUE_%d", i);
        return value_of(env, name);
    }
}

static void test_git_knows_only_what_it_is_told(void **state)
{
    struct git_job job = {.home = "/h",
                          .dir = "/h/git",
                          .stall_ms = 1500,
                          .protocol = "https",
                          .resolve = "h:443:1.2.3.4",
                          .header_scope = "https://h/o/r.git",
                          .header = "Authorization: Basic x"};

    (void)state;
    setenv("GIT_TRACE_CURL", "1", 1);
    setenv("https_proxy", "http://evil", 1);
    char **env = git_env_new(&job);
    assert_non_null(env);
    assert_null(value_of(env, "GIT_TRACE_CURL"));
    assert_null(value_of(env, "https_proxy"));
    assert_string_equal(value_of(env, "GIT_TERMINAL_PROMPT"), "0");
    assert_string_equal(value_of(env, "GIT_ALLOW_PROTOCOL"), "https");
    assert_string_equal(setting_of(env, "http.followRedirects"), "false");
    assert_string_equal(setting_of(env, "http.curloptResolve"), "h:443:1.2.3.4");
    assert_string_equal(setting_of(env, "http.lowSpeedTime"), "2");
    assert_string_equal(setting_of(env, "http.https://h/o/r.git.extraHeader"),
                        "Authorization: Basic x");
    assert_string_equal(setting_of(env, "credential.helper"), "");
    git_env_free(env);

    job.protocol = NULL; /* once it is here, neither network nor token */
    env = git_env_new(&job);
    assert_string_equal(value_of(env, "GIT_ALLOW_PROTOCOL"), "none");
    assert_null(setting_of(env, "http.https://h/o/r.git.extraHeader"));
    git_env_free(env);
}

static void test_a_name_is_resolved_to_addresses_that_may_be_called(void **state)
{
    struct web_url url = {.host = "localhost", .port = 8080};
    struct address_guard none = {.count = 0}, local;
    struct buf text = BUF_INIT;

    (void)state;
    assert_int_equal(resolve_host(&url, &none, &text, &word, &err), -E_BAD_INPUT);
    assert_string_equal(word, "address_refused");
    buf_clear(&text);
    assert_int_equal(address_guard_init(&local, "127.0.0.1", &err), 0);
    assert_int_equal(resolve_host(&url, &local, &text, &word, &err), 0);
    assert_string_equal(text.data, "localhost:8080:127.0.0.1");
    buf_clear(&text);
    snprintf(url.host, sizeof url.host, "127.0.0.1");
    assert_int_equal(resolve_host(&url, &local, &text, &word, &err), 0);
    assert_string_equal(text.data, "");
    assert_int_equal(resolve_host(&url, &none, &text, &word, &err), -E_BAD_INPUT);
    buf_release(&text);
}

/* --- sinks --- */

static void give(const struct repo_sink *sink, const char *path, const char *content)
{
    assert_int_equal(sink->begin(sink->arg, path, strlen(content), &err), 0);
    assert_int_equal(sink->write(sink->arg, content, strlen(content), &err), 0);
    assert_int_equal(sink->end(sink->arg, &err), 0);
}

static void assert_content(const char *root, const char *path, const char *content)
{
    char full[4096], *text = NULL;

    snprintf(full, sizeof full, "%s/%s", root, path);
    assert_int_equal(fs_read_small(full, 1 << 20, &text, &err), 0);
    assert_string_equal(text, content);
    free(text);
}

static bool exists(const char *path)
{
    char full[512];
    struct stat st;

    snprintf(full, sizeof full, "%s/%s", dir, path);
    return lstat(full, &st) == 0;
}

static void test_a_folder_is_not_there_before_it_is_whole(void **state)
{
    struct folder *f = NULL;
    char key[ARTIFACT_KEY_MAX];

    (void)state;
    assert_int_equal(folder_begin(dir, TASK, 1, &f, &err), 0);
    const struct repo_sink sink = folder_sink(f);
    give(&sink, "a/b/c", "1");
    give(&sink, "a/b/d", "2");
    give(&sink, "a/e", "3");
    assert_int_equal(folder_key(f, "o-r", key, &err), 0);
    assert_string_equal(key, "outputs/" TASK "/1/o-r");
    assert_false(exists("outputs/" TASK "/1/o-r"));
    assert_int_equal(folder_commit_free(f, "o-r", "{}", &err), 0);
    assert_content(dir, "outputs/" TASK "/1/o-r/a/b/c", "1");
    assert_content(dir, "outputs/" TASK "/1/o-r/a/b/d", "2");
    assert_content(dir, "outputs/" TASK "/1/o-r/a/e", "3");
    assert_content(dir, "outputs/" TASK "/1/o-r.json", "{}");
    assert_false(exists("outputs/" TASK "/1/.work"));
}

static void test_an_attempt_removes_those_before_it_and_itself_when_it_fails(void **state)
{
    struct folder *first = NULL, *second = NULL;

    (void)state;
    assert_int_equal(folder_begin(dir, TASK, 1, &first, &err), 0);
    struct repo_sink sink = folder_sink(first);
    give(&sink, "x", "1");
    assert_int_equal(folder_begin(dir, TASK, 2, &second, &err), 0);
    assert_false(exists("outputs/" TASK "/1"));
    assert_int_not_equal(sink.begin(sink.arg, "y", 0, &err), 0); /* the first has lost */
    assert_int_not_equal(folder_commit_free(first, "o-r", "{}", &err), 0);
    assert_false(exists("outputs/" TASK "/1"));
    assert_true(exists("outputs/" TASK "/2/.work"));
    folder_abort_free(second);
    assert_false(exists("outputs/" TASK));
}

static void test_two_entries_in_one_place_are_an_error(void **state)
{
    struct folder *f = NULL;

    (void)state;
    assert_int_equal(folder_begin(dir, TASK, 1, &f, &err), 0);
    const struct repo_sink sink = folder_sink(f);
    give(&sink, "a", "1");
    assert_int_equal(sink.begin(sink.arg, "a", 0, &err), -E_BAD_INPUT);
    assert_int_equal(sink.begin(sink.arg, "a/b", 0, &err), -E_BAD_INPUT);
    folder_abort_free(f);
}

static void unpack(const char *archive, const char *to)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        execlp("tar", "tar", "-xf", archive, "-C", to, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_an_archive_is_what_tar_reads(void **state)
{
    struct objstore *store = NULL;
    struct objstore_put *put = NULL;
    struct artifact packed;
    char url[96], archive[256], out[128], deep[400] = "";

    (void)state;
    snprintf(url, sizeof url, "file:%s/store", dir);
    snprintf(out, sizeof out, "%s/out", dir);
    assert_int_equal(mkdir(out, 0700), 0);
    for (int i = 0; i < 30; i++)
        snprintf(deep + strlen(deep), sizeof deep - strlen(deep), "%s", "folder 012/");
    snprintf(deep + strlen(deep), sizeof deep - strlen(deep), "%s", "\xc3\xa4");
    assert_int_equal(objstore_open(url, &store, &err), 0);
    assert_int_equal(objstore_put_begin(store, "processed_data/x.tar", &put, &err), 0);
    struct tar tar = {.put = put};
    const struct repo_sink sink = tar_sink(&tar);
    give(&sink, "empty", "");
    give(&sink, "a/short", "hello");
    give(&sink, deep, "deep");
    give(&sink, "after", "the rest");
    assert_int_equal(tar_end(&tar, &err), 0);
    assert_int_equal(objstore_put_commit_free(put, &packed, &err), 0);
    assert_int_equal(packed.size % 512, 0);
    snprintf(archive, sizeof archive, "%s/processed_data/x.tar", objstore_place(store));
    unpack(archive, out);
    assert_content(out, "empty", "");
    assert_content(out, "a/short", "hello");
    assert_content(out, deep, "deep");
    assert_content(out, "after", "the rest");
    objstore_close(store);
}

static void test_scratch_of_the_dead_goes_and_of_the_living_stays(void **state)
{
    struct scratch mine, later;
    struct stat st;

    (void)state;
    assert_int_equal(scratch_make(dir, &mine, &err), 0);
    pid_t pid = fork();
    if (pid == 0) { /* a slot that is killed */
        struct scratch other;
        _exit(scratch_make(dir, &other, &err) == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(scratch_make(dir, &later, &err), 0);
    assert_int_equal(stat(mine.path, &st), 0);
    scratch_remove(&later);
    scratch_remove(&mine);
    assert_int_equal(rmdir(dir), 0); /* nothing is left */
    assert_int_equal(mkdir(dir, 0700), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gits_words_become_an_error_that_says_what_to_do),
        cmocka_unit_test(test_the_name_of_a_repository_is_no_word_of_gits),
        cmocka_unit_test(test_entries_are_taken_apart),
        cmocka_unit_test(test_a_path_that_could_lead_elsewhere_is_refused),
        cmocka_unit_test(test_a_line_of_another_form_is_damage),
        cmocka_unit_test(test_git_knows_only_what_it_is_told),
        cmocka_unit_test(test_a_name_is_resolved_to_addresses_that_may_be_called),
        cmocka_unit_test_setup_teardown(test_a_folder_is_not_there_before_it_is_whole, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(
            test_an_attempt_removes_those_before_it_and_itself_when_it_fails, make_dir,
            remove_dir),
        cmocka_unit_test_setup_teardown(test_two_entries_in_one_place_are_an_error, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(test_an_archive_is_what_tar_reads, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(test_scratch_of_the_dead_goes_and_of_the_living_stays,
                                        make_dir, remove_dir),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
