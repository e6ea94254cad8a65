#!/usr/bin/env bash
# packages.sh - the one place that lists the Debian packages Segue needs.
#
#   scripts/packages.sh build|run|test|...   install what is missing of these groups
#   scripts/packages.sh --list GROUP...     only print the names
#
# build: to compile the programs; run: to try them with run.sh; package: to make the Debian
# package; trees: to try it and run.sh in a fresh Debian (tests/packaging); test: to compile and
# run all tests and checks; bench and throughput: what tests/bench/csv/run and
# tests/bench/throughput/run compare with; image and image-test: what the Dockerfile packs on top
# of build; compose: to run tests/compose. Names hold for Debian 12 and 13; of "a|b" either will
# do. Installs with apt-get
# as root or through sudo, and does nothing at all when everything is there.
set -euo pipefail

# The MariaDB packages are the -core ones: they bring the programs and no system service.
declare -A groups=(
    [build]="gcc libc6-dev cmake ninja-build pkgconf libmicrohttpd-dev librabbitmq-dev
        libjansson-dev libmariadb-dev libsqlite3-dev libcurl4-openssl-dev|libcurl4-gnutls-dev
        libssl-dev zlib1g-dev libzstd-dev"
    [run]="curl git ca-certificates"
    [package]="dpkg-dev file"
    [trees]="debootstrap systemd-container"
    [test]="libcmocka-dev curl git ca-certificates openssl mariadb-server-core
        mariadb-client-core rabbitmq-server npm|nodejs patch python3 python3-yaml
        perl clang clang-format sqlite3"
    [bench]="libcmocka-dev python3 npm|nodejs miller"
    [throughput]="libcmocka-dev python3 mariadb-server-core mariadb-client-core rabbitmq-server
        sqlite3 npm|nodejs redis-server postgresql python3-celery python3-sqlalchemy
        python3-mysqldb"
    [cluster]="python3 mariadb-server galera-4 rsync rabbitmq-server haproxy"
    [image]="binutils ca-certificates openssl git"
    [image-test]="python3"
    [compose]="docker.io docker-compose iptables debootstrap python3 python3-yaml"
)

say() { printf 'packages.sh: %s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

is_any_installed() { # a|b
    local name
    for name in ${1//|/ }; do
        ! is_installed "$name" || return 0
    done
    return 1
}

list_only=false
if [ "${1:-}" = --list ]; then
    list_only=true
    shift
fi
[ $# -gt 0 ] || die "usage: packages.sh [--list] build|run|test|..."

wanted=()
for group in "$@"; do
    [ -n "${groups[$group]:-}" ] || die "there is no group '$group', only ${!groups[*]}"
    for name in ${groups[$group]}; do
        wanted+=("$name")
    done
done
if $list_only; then
    printf '%s\n' "${wanted[@]%%|*}" | sort -u
    exit
fi

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    die "this is no Debian system; install what these packages hold yourself: ${wanted[*]%%|*}"
fi

missing=()
for name in "${wanted[@]}"; do
    is_any_installed "$name" || missing+=("${name%%|*}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
        die "packages are missing and there is no sudo; as root: apt-get install ${missing[*]}"
    as_root=(sudo)
fi

say "installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" </dev/null >>"$log" 2>&1; }

# A server package would start its service; the tests start servers of their own instead.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
    "${as_root[@]}" chmod 755 $policy
    trap 'rm -f "$log"; "${as_root[@]}" rm -f $policy' EXIT
fi

# Package lists may be absent (containers) or outdated: fetch them, but try without as well.
apt update || say "the package lists could not be fetched (no network?); trying the old ones"
if ! apt install --no-install-recommends "${missing[@]}"; then
    tail -n 15 "$log" >&2
    die "apt-get could not install the packages; by hand: apt-get install ${missing[*]}"
fi
