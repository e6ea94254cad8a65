/* test_azure_rules.c - what is pure about Azure: connection strings, signatures, names, XML.
 * The signatures were computed with Python's hmac from texts put together by hand after the
 * REST reference, "Authorize with Shared Key". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "azure_account.h"
#include "azure_list.h"
#include "azure_name.h"
#include "azure_sign.h"
#include "azure_xml.h"

#define KEY                                                                                    \
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

static struct azure_account account;
static struct err err;

/* --- connection strings --- */

static void an_endpoint_is_made_from_its_parts(void **state)
{
    (void)state;
    assert_int_equal(azure_account_parse(
                         "DefaultEndpointsProtocol=https;AccountName=myaccount;AccountKey=" KEY
                         ";EndpointSuffix=core.windows.net",
                         &account, &err),
                     0);
    assert_string_equal(account.name, "myaccount");
    assert_string_equal(account.origin, "https://myaccount.blob.core.windows.net");
    assert_string_equal(account.path, "");
    assert_int_equal(account.key_len, 64);
    assert_int_equal(account.key[0], 0x11);
    assert_int_equal(account.key[63], 0x1b);
    assert_int_equal(azure_account_parse("accountkey=" KEY ";ACCOUNTNAME=a", &account, &err),
                     0);
    assert_string_equal(account.origin, "https://a.blob.core.windows.net");
}

static void an_endpoint_that_is_given_counts(void **state)
{
    (void)state;
    assert_int_equal(
        azure_account_parse(
            "BlobEndpoint=http://127.0.0.1:7777/dev/;AccountName=dev;AccountKey=" KEY
            ";QueueEndpoint=http://127.0.0.1:1/dev;\n",
            &account, &err),
        0);
    assert_string_equal(account.origin, "http://127.0.0.1:7777");
    assert_string_equal(account.path, "/dev");
    assert_int_equal(azure_account_parse("UseDevelopmentStorage=true", &account, &err), 0);
    assert_string_equal(account.origin, "http://127.0.0.1:10000");
    assert_string_equal(account.path, "/devstoreaccount1");
    assert_string_equal(account.name, "devstoreaccount1");
}

static void a_wrong_connection_string_is_told_and_not_shown(void **state)
{
    static const char *const bad[] = {
        "",
        "x",
        "AccountName=secretname",
        "AccountKey=" KEY,
        "AccountName=secretname;AccountKey=",
        "AccountName=secretname;AccountKey=secret!",
        "AccountName=secretname;AccountKey=abc",
        "AccountName=secret/name;AccountKey=" KEY,
        "AccountName=secretname;AccountKey=" KEY ";BlobEndpoint=ftp://secret",
        "AccountName=secretname;AccountKey=" KEY ";BlobEndpoint=http://",
        "AccountName=secretname;AccountKey=" KEY ";BlobEndpoint=http://secret@host",
        "AccountName=secretname;AccountKey=" KEY ";BlobEndpoint=http://host?secret",
        "AccountName=secretname;AccountKey=" KEY ";DefaultEndpointsProtocol=secret",
        "AccountName=secretname;SharedAccessSignature=sig%3dsecret",
        "UseDevelopmentStorage=false",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err.text[0] = '\0';
        assert_int_equal(azure_account_parse(bad[i], &account, &err), -E_BAD_VALUE);
        assert_true(err.text[0] != '\0');
        assert_null(strstr(err.text, "secret"));
        assert_null(strstr(err.text, KEY));
    }
}

/* --- signatures --- */

static void assert_signed(const struct azure_signed *request, const char *expected)
{
    struct buf out = BUF_INIT;

    assert_int_equal(azure_sign(&account, request, &out, &err), 0);
    assert_string_equal(out.data, expected);
    buf_release(&out);
}

static void a_request_without_a_body_has_the_signature_of_the_reference(void **state)
{
    const struct azure_pair query[] = {
        {"timeout", "20"}, {"restype", "container"}, {"comp", "metadata"}, {NULL, NULL}};
    const struct azure_pair headers[] = {{"x-ms-version", "2015-02-21"},
                                         {"x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT"},
                                         {NULL, NULL}};

    (void)state;
    assert_int_equal(
        azure_account_parse("AccountName=myaccount;AccountKey=" KEY, &account, &err), 0);
    assert_signed(&(struct azure_signed){"GET", "/mycontainer", query, headers, 0},
                  "SharedKey myaccount:1u9lui2jDxj0+fpbHjQ5m5NnastJRSYM+PSmfi8TXx4=");
}

static void a_request_with_a_body_signs_its_length_and_conditions(void **state)
{
    const struct azure_pair headers[] = {{"x-ms-date", "Sun, 30 Nov 2026 06:00:00 GMT"},
                                         {"x-ms-version", "2021-12-02"},
                                         {"X-Ms-Meta-Sha256", "abc"},
                                         {"x-ms-meta-put", "tok"},
                                         {"x-ms-blob-type", "BlockBlob"},
                                         {"If-None-Match", "*"},
                                         {"Content-MD5", "XrY7u+Ae7tCTyyK7j1rNww=="},
                                         {NULL, NULL}};

    (void)state;
    assert_int_equal(azure_account_parse("UseDevelopmentStorage=true", &account, &err), 0);
    assert_signed(
        &(struct azure_signed){"PUT", "/devstoreaccount1/box/a%20b/c.txt", NULL, headers, 11},
        "SharedKey devstoreaccount1:D8FDb75kmnLwZmjxN2C5izOeBl+G7WkMFWslMvEdL8w=");
}

static void digests_and_base64_are_those_of_the_standards(void **state)
{
    static const struct {
        const char *plain, *text;
    } cases[] = {{"", ""},
                 {"f", "Zg=="},
                 {"fo", "Zm8="},
                 {"foo", "Zm9v"},
                 {"foob", "Zm9vYg=="},
                 {"fooba", "Zm9vYmE="},
                 {"\xff\xfe", "//4="}};
    char text[16], md5[MD5_BASE64_MAX];
    unsigned char bytes[16];
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        azure_base64_encode(cases[i].plain, strlen(cases[i].plain), text);
        assert_string_equal(text, cases[i].text);
        if (i == 0)
            continue;
        assert_true(azure_base64_decode(text, bytes, sizeof bytes, &len));
        assert_int_equal(len, strlen(cases[i].plain));
        assert_memory_equal(bytes, cases[i].plain, len);
    }
    assert_false(azure_base64_decode("", bytes, sizeof bytes, &len));
    assert_false(azure_base64_decode("Zg=", bytes, sizeof bytes, &len));
    assert_false(azure_base64_decode("Z=g=", bytes, sizeof bytes, &len));
    assert_false(azure_base64_decode("Zm9v", bytes, 2, &len));
    assert_int_equal(azure_md5_base64("hello world", 11, md5, &err), 0);
    assert_string_equal(md5, "XrY7u+Ae7tCTyyK7j1rNww==");
}

/* --- names --- */

static void names_keep_what_azure_keeps_and_escape_the_rest(void **state)
{
    static const struct {
        const char *name, *kept;
    } cases[] = {
        {"src/main.c", "src/main.c"},
        {"a b+c&d=é€😀", "a b+c&d=é€😀"},
        {".gitignore", ".gitignore"},
        {"..", ".%2E"},
        {".", "%2E"},
        {"a/../b", "a/.%2E/b"},
        {"dir./x.", "dir%2E/x%2E"},
        {"/abs", "%2Fabs"},
        {"a//b", "a/%2Fb"},
        {"a/", "a%2F"},
        {"c:\\x", "c:%5Cx"},
        {"a\nb\x7f", "a%0Ab%7F"},
        {"\xff\xc3", "%FF%C3"},
        {"\xc0\x80\xed\xa0\x80", "%C0%80%ED%A0%80"},
        {"\xef\xbf\xbf\xc2\x85", "%EF%BF%BF%C2%85"},
        {"100%", "100%"},
        {"%zz%5", "%zz%5"},
        {"%5C%5c", "%255C%255c"},
    };
    char back[BLOB_NAME_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out = BUF_INIT;
        assert_int_equal(azure_name_encode(cases[i].name, &out, &err), 0);
        assert_string_equal(out.data, cases[i].kept);
        assert_true(azure_name_decode(out.data, back));
        assert_string_equal(back, cases[i].name);
        buf_release(&out);
    }
    assert_false(azure_name_decode("a%00b", back));
    assert_false(azure_name_decode("", back));
}

static void random_names_come_back_and_never_meet(void **state)
{
    static const char letters[] = "a./%\\25Ee\xff\xc3\xa9 ";
    uint32_t seed = 1;
    char names[2][8], back[BLOB_NAME_MAX];
    struct buf kept[2] = {BUF_INIT, BUF_INIT};

    (void)state;
    for (int i = 0; i < 20000; i++) {
        int k = i % 2;
        size_t len = 1 + (seed >> 20) % 7;
        for (size_t c = 0; c < len; c++) {
            seed = seed * 1664525 + 1013904223;
            names[k][c] = letters[(seed >> 16) % (sizeof letters - 1)];
        }
        names[k][len] = '\0';
        buf_clear(&kept[k]);
        assert_int_equal(azure_name_encode(names[k], &kept[k], &err), 0);
        assert_true(azure_name_decode(kept[k].data, back));
        assert_string_equal(back, names[k]);
        if (i > 0 && strcmp(names[0], names[1]) != 0)
            assert_string_not_equal(kept[0].data, kept[1].data);
    }
    buf_release(&kept[0]);
    buf_release(&kept[1]);
}

static void a_name_has_1024_characters_at_most(void **state)
{
    char name[4097];
    struct buf out = BUF_INIT;

    (void)state;
    memset(name, 'n', 1025);
    name[1024] = '\0';
    assert_int_equal(azure_name_encode(name, &out, &err), 0);
    name[1024] = 'n';
    name[1025] = '\0';
    assert_int_equal(azure_name_encode(name, &out, &err), -E_BAD_VALUE);
    for (size_t i = 0; i < 1024; i++)
        memcpy(name + 2 * i, "\xc3\xa9", 2);
    name[2048] = '\0';
    assert_int_equal(azure_name_encode(name, &out, &err), 0);
    buf_release(&out);
}

static void a_prefix_asks_for_no_less_than_it_names(void **state)
{
    static const char *const names[] = {"a/",  "a.",   "a/b", "a//b", "a./b",
                                        "a.b", "a%5C", "\\",  ""};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (size_t cut = 0; cut <= strlen(names[i]); cut++) {
            char prefix[8] = "";
            struct buf kept = BUF_INIT;
            memcpy(prefix, names[i], cut);
            if (names[i][0])
                assert_int_equal(azure_name_encode(names[i], &kept, &err), 0);
            assert_int_equal(strncmp(kept.data, prefix, azure_name_plain_prefix(prefix)), 0);
            buf_release(&kept);
        }
    }
    assert_int_equal(azure_name_plain_prefix("src/lib"), 7);
}

static void a_url_holds_plain_characters_only(void **state)
{
    struct buf out = BUF_INIT;

    (void)state;
    azure_url_append(&out, "a b/%2E?#\xc3\xa9-._~");
    assert_string_equal(out.data, "a%20b/%252E%3F%23%C3%A9-._~");
    buf_release(&out);
}

/* --- XML --- */

static struct xml_part part_of(const char *text)
{
    return (struct xml_part){text, text + strlen(text)};
}

static void elements_are_found_one_after_the_other(void **state)
{
    struct xml_part rest =
        part_of("<?xml?><Blobs><Blob><Name>a&amp;&lt;b&#x20AC;&#65;</Name><Empty /></Blob>"
                "<BlobType/><Blob a=\"1\"><Name></Name></Blob></Blobs><NextMarker/>");
    struct xml_part part, inner;
    char text[32];

    (void)state;
    assert_true(xml_find(&rest, "NextMarker", &part, NULL));
    assert_ptr_equal(part.at, part.end);
    assert_true(xml_find(&rest, "Blob", &part, &rest));
    assert_true(xml_find(&part, "Name", &inner, NULL));
    assert_true(xml_text(&inner, text, sizeof text));
    assert_string_equal(text, "a&<b\xe2\x82\xac"
                              "A");
    assert_false(xml_text(&inner, text, 8));
    assert_true(xml_find(&part, "Empty", &inner, NULL));
    assert_false(xml_find(&part, "Nam", &inner, NULL));
    assert_true(xml_find(&rest, "Blob", &part, &rest));
    assert_true(xml_find(&part, "Name", &inner, NULL));
    assert_true(xml_text(&inner, text, sizeof text));
    assert_string_equal(text, "");
    assert_false(xml_find(&rest, "Blob", &part, &rest));
}

static void broken_xml_is_no_text(void **state)
{
    static const char *const bad[] = {"&",          "&amp",  "&nbsp;", "&#0;",
                                      "&#x110000;", "&#xZ;", "a<b",    "&#;"};
    struct xml_part part;
    char text[32];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        part = part_of(bad[i]);
        assert_false(xml_text(&part, text, sizeof text));
    }
    part = part_of("<Name>never ends");
    assert_false(xml_find(&part, "Name", &part, NULL));
    part = part_of("<Name");
    assert_false(xml_find(&part, "Name", &part, NULL));
}

static void dates_of_http_are_read(void **state)
{
    int64_t ms = 0;

    (void)state;
    assert_true(azure_parse_date("Sun, 30 Nov 2025 06:07:08 GMT", &ms));
    assert_true(ms == INT64_C(1764482828000));
    assert_false(azure_parse_date("Sun, 30 Nov 2025 06:07:08 CET", &ms));
    assert_false(azure_parse_date("Sun, 30 ovN 2025 06:07:08 GMT", &ms));
    assert_false(azure_parse_date("", &ms));
}

int main(void)
{
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(an_endpoint_is_made_from_its_parts),
        cmocka_unit_test(an_endpoint_that_is_given_counts),
        cmocka_unit_test(a_wrong_connection_string_is_told_and_not_shown),
        cmocka_unit_test(a_request_without_a_body_has_the_signature_of_the_reference),
        cmocka_unit_test(a_request_with_a_body_signs_its_length_and_conditions),
        cmocka_unit_test(digests_and_base64_are_those_of_the_standards),
        cmocka_unit_test(names_keep_what_azure_keeps_and_escape_the_rest),
        cmocka_unit_test(random_names_come_back_and_never_meet),
        cmocka_unit_test(a_name_has_1024_characters_at_most),
        cmocka_unit_test(a_prefix_asks_for_no_less_than_it_names),
        cmocka_unit_test(a_url_holds_plain_characters_only),
        cmocka_unit_test(elements_are_found_one_after_the_other),
        cmocka_unit_test(broken_xml_is_no_text),
        cmocka_unit_test(dates_of_http_are_read),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
