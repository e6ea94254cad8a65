/* Where a request may make a server connect to: addresses, URLs, hosts, repositories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "address_guard.h"
#include "repo_url.h"

static struct err err;

static const char *judge(const char *networks, const char *address)
{
    struct address_guard g;
    struct sockaddr_storage a;

    assert_int_equal(address_guard_init(&g, networks, &err), 0);
    assert_true(address_parse(address, &a));
    return address_guard_refusal(&g, (const struct sockaddr *)&a);
}

static void test_only_public_addresses_are_called(void **state)
{
    static const struct {
        const char *address, *refusal; /* NULL: may be called */
    } cases[] = {
        {"140.82.121.4", NULL},
        {"1.1.1.1", NULL},
        {"9.255.255.255", NULL},
        {"11.0.0.0", NULL},
        {"172.15.255.255", NULL},
        {"172.32.0.0", NULL},
        {"100.63.255.255", NULL},
        {"100.128.0.0", NULL},
        {"223.255.255.255", NULL},
        {"2606:50c0:8000::153", NULL},
        {"2a00:1450:4001::1", NULL},
        {"0.0.0.0", "an address of this network"},
        {"10.1.2.3", "a private address"},
        {"100.64.0.1", "a private address"},
        {"100.127.255.255", "a private address"},
        {"127.0.0.1", "a loopback address"},
        {"127.255.255.254", "a loopback address"},
        {"169.254.169.254", "a link-local address"},
        {"172.16.0.1", "a private address"},
        {"172.31.255.255", "a private address"},
        {"192.168.0.1", "a private address"},
        {"198.19.255.255", "a reserved address"},
        {"203.0.113.9", "a reserved address"},
        {"224.0.0.1", "a multicast address"},
        {"239.255.255.255", "a multicast address"},
        {"255.255.255.255", "a reserved address"},
        {"::", "the unspecified address"},
        {"::1", "a loopback address"},
        {"::2", "an IPv4-compatible address"},
        {"::ffff:127.0.0.1", "an IPv4-mapped address"},
        {"::ffff:140.82.121.4", "an IPv4-mapped address"},
        {"64:ff9b::7f00:1", "a NAT64 address"},
        {"2002:7f00:1::", "a 6to4 address"},
        {"2001:0:1::1", "a Teredo address"},
        {"2001:db8::1", "a reserved address"},
        {"fc00::1", "a private address"},
        {"fdff::1", "a private address"},
        {"fe80::1", "a link-local address"},
        {"febf::1", "a link-local address"},
        {"fec0::1", "a private address"},
        {"ff02::1", "a multicast address"},
        {"4000::1", "a reserved address"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *refusal = judge("", cases[i].address);
        if (!cases[i].refusal && refusal)
            fail_msg("%s: %s", cases[i].address, refusal);
        if (cases[i].refusal && (!refusal || strcmp(refusal, cases[i].refusal) != 0))
            fail_msg("%s: %s", cases[i].address, refusal ? refusal : "may be called");
    }
}

static void test_a_network_that_is_configured_may_be_called_and_no_other(void **state)
{
    (void)state;
    assert_null(judge("10.0.0.0/8, ::1", "10.255.0.1"));
    assert_null(judge("10.0.0.0/8, ::1", "::1"));
    assert_string_equal(judge("10.0.0.0/8, ::1", "::2"), "an IPv4-compatible address");
    assert_string_equal(judge("10.0.0.0/9", "10.128.0.0"), "a private address");
    assert_null(judge("10.128.0.0/9", "10.128.0.0"));
    assert_null(judge("127.0.0.1", "127.0.0.1"));
    assert_string_equal(judge("127.0.0.1", "127.0.0.2"), "a loopback address");
    /* The IPv4 network says nothing about IPv6 that holds IPv4. */
    assert_string_equal(judge("127.0.0.0/8", "::ffff:127.0.0.1"), "an IPv4-mapped address");
    assert_null(judge("::ffff:0:0/96", "::ffff:127.0.0.1"));
    assert_null(judge("0.0.0.0/0", "127.0.0.1"));
}

static void test_a_list_of_networks_is_read_strictly(void **state)
{
    static const char *const bad[] = {"10.0.0.0/33", "10.0.0.1/8", "localhost", "::/129",
                                      "10.0.0.0/",   "10/8",       "::1/-1",    "127.1"};
    struct address_guard g;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (address_guard_init(&g, bad[i], &err) != -E_BAD_VALUE)
            fail_msg("'%s' was taken", bad[i]);
        assert_non_null(strstr(err.text, bad[i]));
    }
}

static void test_other_families_are_refused(void **state)
{
    struct address_guard g = {.count = 0};
    struct sockaddr a = {.sa_family = AF_UNIX};

    (void)state;
    assert_string_equal(address_guard_refusal(&g, &a), "no internet address");
}

/* --- URLs --- */

static void test_a_url_is_split_into_what_decides_where_it_leads(void **state)
{
    struct web_url u;

    (void)state;
    assert_int_equal(web_url_parse("https://Example.ORG./a?b=1#c", "url", &u, &err), 0);
    assert_true(u.is_tls);
    assert_string_equal(u.host, "example.org");
    assert_int_equal(u.port, 443);
    assert_string_equal(u.rest, "/a?b=1#c");
    assert_int_equal(web_url_parse("http://[::1]:8080", "url", &u, &err), 0);
    assert_true(u.is_ipv6 && !u.is_tls);
    assert_string_equal(u.host, "::1");
    assert_int_equal(u.port, 8080);
    assert_string_equal(u.rest, "");
}

static void test_a_url_that_readers_disagree_on_is_refused_without_being_shown(void **state)
{
    static const char *const bad[] = {
        "",
        "example.org",
        "ftp://example.org/",
        "https:///x",
        "https://",
        "https://user@example.org/",
        "https://user:s3cret@example.org/",
        "https://a@b@example.org/",
        "https://example.org\\@evil.org/",
        "https://example.org:0/",
        "https://example.org:65536/",
        "https://example.org:80x/",
        "https://example.org:/",
        "https://exa mple.org/",
        "https://example.org/a b",
        "https://example.org/\r\nX: y",
        "https://ex%61mple.org/",
        "https://.example.org/",
        "https://a..b/",
        "https://-a/",
        "https://[::1/",
        "https://[127.0.0.1]/",
        "https://[::1]x/",
        "https://\xc3\xa4.org/",
    };
    struct web_url u;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (web_url_parse(bad[i], "url", &u, &err) != -E_BAD_VALUE)
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(strncmp(err.text, "url: ", 5), 0);
        assert_null(strstr(err.text, "s3cret"));
    }
}

static bool allows(const char *list, const char *text)
{
    struct web_url u;

    assert_int_equal(web_url_parse(text, "url", &u, &err), 0);
    return web_hosts_allow(list, &u);
}

static void test_hosts_are_allowed_by_scheme_name_and_port(void **state)
{
    static const char list[] = "github.com, http://git.example:8080,local:*, [::1]:444";

    (void)state;
    assert_int_equal(web_hosts_check(list, &err), 0);
    assert_true(allows(list, "https://github.com/a/b"));
    assert_true(allows(list, "https://GitHub.com:443"));
    assert_true(allows(list, "http://git.example:8080/"));
    assert_true(allows(list, "https://local:1"));
    assert_true(allows(list, "https://[::1]:444"));
    assert_false(allows(list, "http://github.com/a/b"));
    assert_false(allows(list, "https://github.com:444/a/b"));
    assert_false(allows(list, "https://github.com.evil.org/"));
    assert_false(allows(list, "https://evilgithub.com/"));
    assert_false(allows(list, "https://git.example:8080/"));
    assert_false(allows(list, "https://[::1]"));
    assert_false(allows("", "https://github.com/"));
    assert_true(allows("*", "https://any.where"));
    assert_false(allows("*", "http://any.where"));
    assert_true(allows("http://*:*", "http://any.where:99"));
    assert_int_equal(web_hosts_check("github.com/owner", &err), -E_BAD_VALUE);
    assert_int_equal(web_hosts_check("*.github.com", &err), -E_BAD_VALUE);
}

/* --- repositories --- */

static void test_a_repository_gets_one_form_and_one_name(void **state)
{
    static const struct {
        const char *text, *url, *name;
    } cases[] = {
        {"https://github.com/Owner/My.Repo", "https://github.com/Owner/My.Repo.git",
         "owner-my.repo"},
        {"https://github.com/o/r.git", "https://github.com/o/r.git", "o-r"},
        {"https://GITHUB.com:443/o/r.git/", "https://github.com/o/r.git", "o-r"},
        {"https://www.github.com/o/r", "https://github.com/o/r.git", "o-r"},
        {"https://gitlab.com/g/sub/r", "https://gitlab.com/g/sub/r.git", "g-sub-r"},
        {"http://[::1]:80/o/r", "http://[::1]/o/r.git", "o-r"},
        {"https://h:444/o/.github", "https://h:444/o/.github.git", "o-.github"},
        {"https://h/.o/x.part", "https://h/.o/x.part.git", "-o-x-part"},
        {"https://h/~me/x", "https://h/~me/x.git", "-me-x"},
    };
    struct repo_url u;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (repo_url_parse(cases[i].text, "repository", &u, &err) != 0)
            fail_msg("'%s': %s", cases[i].text, err.text);
        assert_string_equal(u.url, cases[i].url);
        assert_string_equal(u.name, cases[i].name);
    }
}

static void test_what_is_no_address_of_a_repository_is_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"git@github.com:o/r.git", "ssh is not supported"},
        {"ssh://git@github.com/o/r.git", "ssh is not supported"},
        {"file:///etc", "local files are not supported"},
        {"/etc", "local files are not supported"},
        {"../x", "local files are not supported"},
        {"git://github.com/o/r", "git:// is not supported"},
        {"ext::sh -c id", "helpers are not supported"},
        {"https://t0ken@github.com/o/r", "must not contain a user name or password"},
        {"https://github.com/o", "two or more names"},
        {"https://github.com/", "two or more names"},
        {"https://github.com/o//r", "two or more names"},
        {"https://github.com/o/../r", "two or more names"},
        {"https://github.com/o/-r", "two or more names"},
        {"https://github.com/o/r%2e", "two or more names"},
        {"https://github.com/o/r?x=1", "no query"},
        {"https://github.com/o/r#x", "no query"},
        {"--upload-pack=id", "must begin with"},
    };
    struct repo_url u;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (repo_url_parse(cases[i].text, "repository", &u, &err) != -E_BAD_VALUE)
            fail_msg("'%s' was taken", cases[i].text);
        if (!strstr(err.text, cases[i].says))
            fail_msg("'%s': %s", cases[i].text, err.text);
        assert_null(strstr(err.text, "t0ken"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_public_addresses_are_called),
        cmocka_unit_test(test_a_network_that_is_configured_may_be_called_and_no_other),
        cmocka_unit_test(test_a_list_of_networks_is_read_strictly),
        cmocka_unit_test(test_other_families_are_refused),
        cmocka_unit_test(test_a_url_is_split_into_what_decides_where_it_leads),
        cmocka_unit_test(test_a_url_that_readers_disagree_on_is_refused_without_being_shown),
        cmocka_unit_test(test_hosts_are_allowed_by_scheme_name_and_port),
        cmocka_unit_test(test_a_repository_gets_one_form_and_one_name),
        cmocka_unit_test(test_what_is_no_address_of_a_repository_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
