#!/usr/bin/env bash
# test_installed_library.sh - the pipeline library as a user of it meets it: installed below a
# temporary prefix, found by pkg-config, linked shared and static.
#
#   test_installed_library.sh BUILD-FOLDER COMPILER LIBDIR SANITIZERS
set -euo pipefail
build=$1 compiler=$2 libdir=$3 sanitizers=$4
here=$(cd "$(dirname "$0")" && pwd)
example=$here/../../../examples/backup_automation.c

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}
says_what_it_should() { # NAME COMMAND...
    local name=$1
    shift
    "$@" >"$temp/said" || fail "$name ended with an error"
    diff -u "$here/backup_automation.expected" "$temp/said" || fail "$name says something else"
}

flags=(-std=c11 -Wall -Wextra -Werror)
[ -z "$sanitizers" ] || flags+=("-fsanitize=$sanitizers")

echo "-- the example of the build"
says_what_it_should "the example" "$build/examples/backup_automation"

# Installed, and then moved: the prefix is found from where the files are.
cmake --install "$build" --component pipeline --prefix "$temp/first" >"$temp/log" || fail "installing"
mv "$temp/first" "$temp/prefix"
prefix=$temp/prefix lib=$temp/prefix/$libdir
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
pc() { pkg-config "$@" || fail "pkg-config $*"; }

echo "-- shared, by pkg-config"
read -ra use <<<"$(pc --cflags --libs segue-pipeline)"
"$compiler" "${flags[@]}" -o "$temp/shared" "$example" "${use[@]}"
says_what_it_should "the shared example" "$temp/shared"

echo "-- static"
read -ra use <<<"$(pc --cflags segue-pipeline)"
"$compiler" "${flags[@]}" -o "$temp/static" "$example" "${use[@]}" "$lib/libsegue-pipeline.a" -pthread
says_what_it_should "the static example" env -u LD_LIBRARY_PATH "$temp/static"

echo "-- both backends"
read -ra use <<<"$(pc --cflags --libs segue-pipeline-sqlite segue-pipeline-mysql)"
"$compiler" "${flags[@]}" -o "$temp/backends" "$here/uses_backends.c" "${use[@]}"
said=$("$temp/backends" "$temp/pipelines.db") || fail "the program with both backends"
[ "$said" = "finished, and mysql says UNAVAILABLE" ] || fail "the program with both backends says '$said'"

echo "-- sonames, and who needs whom"
needs() { readelf -d "$lib/$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
for name in segue-pipeline segue-pipeline-sqlite segue-pipeline-mysql; do
    readelf -d "$lib/lib$name.so" | grep -q "SONAME.*\[lib$name\.so\.[0-9]*\]" || fail "the soname of $name"
    [ -f "$lib/lib$name.a" ] || fail "there is no lib$name.a"
done
! needs libsegue-pipeline.so | grep -E 'sqlite|mariadb|mysql' || fail "the core needs a database"
! needs libsegue-pipeline-sqlite.so | grep -E 'mariadb|mysql' || fail "SQLite's part needs MySQL's"
needs libsegue-pipeline-sqlite.so | grep -q libsegue-pipeline.so || fail "SQLite's part needs no core"

echo "-- nothing is seen but what the headers declare"
headers=("$prefix"/include/segue/*.h)
for file in "$lib"/libsegue-pipeline*.so "$lib"/libsegue-pipeline*.a; do
    dynamic=()
    [ "${file%.a}" != "$file" ] || dynamic=(-D)
    nm "${dynamic[@]}" -g --defined-only "$file" | awk 'NF == 3 { print $3 }' >"$temp/symbols"
    [ -s "$temp/symbols" ] || fail "$file shows nothing"
    while read -r symbol; do
        case $symbol in
        __asan* | __ubsan* | __odr_asan* | asan.* | ubsan.* | __tsan* | tsan.*) continue ;;
        esac
        grep -qE "\b$symbol\(" "${headers[@]}" || fail "${file##*/} shows $symbol"
    done <"$temp/symbols"
done

echo "-- each header stands alone, in C and in C++"
for header in "${headers[@]}"; do
    printf '#include <segue/%s>\n' "${header##*/}" >"$temp/alone.c"
    "$compiler" "${flags[@]}" -I"$prefix/include" -fsyntax-only "$temp/alone.c" || fail "$header"
    ! command -v clang >/dev/null ||
        clang -x c++ -Wall -Werror -I"$prefix/include" -fsyntax-only "$temp/alone.c" || fail "$header in C++"
done
echo "ok"
