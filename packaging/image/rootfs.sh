#!/usr/bin/env bash
# rootfs.sh - the file tree of an image: programs and the files of Debian that they open.
#
#   rootfs.sh ROOT PROGRAM...   PROGRAM: a name in build/bin, or git
#
# Runs in a container with Debian's packages installed (Dockerfile). A file of a package comes
# with that package's copyright and its entry in dpkg's status, so that scanners know it, and
# is listed in the SBOM. Everything bears the date SOURCE_DATE_EPOCH.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
bin=$here/../../build/bin
[ $# -ge 2 ] || { sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2 && exit 2; }
root=$1
shift
: "${SOURCE_DATE_EPOCH:?}"
umask 022

declare -A taken=() packages=()

package_of() { # a file's package, also when dpkg knows it by its name before the /usr merge
    local name
    for name in "$1" "${1#/usr}"; do
        dpkg-query -S "$name" 2>/dev/null | sed -n '1s/: .*//p' | cut -d, -f1 | grep . && return
    done
    echo "rootfs.sh: $1 is of no package" >&2
    return 1
}

take() { # FILE: with the links that lead to it, its package's papers and what it links to
    local path=$1 target
    [ -z "${taken[$path]:-}" ] || return 0
    taken[$path]=1
    local dir
    dir=$(realpath "$(dirname "$path")")
    mkdir -p "$root$dir"
    if [ -L "$path" ]; then
        target=$(readlink "$path")
        cp -P "$path" "$root$dir/"
        case $target in /*) ;; *) target=$dir/$target ;; esac
        take "$target"
        return
    fi
    cp "$path" "$root$dir/"
    packages[$(package_of "$dir/$(basename "$path")")]=1
    ! is_elf "$path" || take_libraries "$path"
}

is_elf() { [ "$(head -c 4 "$1" | tail -c 3)" = ELF ]; }

take_libraries() { # what the loader would load
    local library
    while read -r library; do
        take "$library"
    done < <(ldd "$1" | sed -n 's/^.*=> \(\/[^ ]*\) (.*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p')
}

take_program() {
    install -D -m 755 "$bin/$1" "$root/usr/bin/$1"
    strip --strip-all "$root/usr/bin/$1"
    take_libraries "$bin/$1"
}

# git as clone and archive need it: its own commands are all in the one program, what speaks
# HTTP is not. Its scripts want a shell, and none of them is needed.
take_git() {
    take /usr/bin/git
    take /usr/bin/git-upload-pack
    take /usr/lib/git-core/git-remote-http
    take /usr/lib/git-core/git-remote-https
    mkdir -p "$root/usr/share/git-core/templates"
}

mkdir -p "$root"/{etc,usr/bin,usr/lib,usr/lib64,usr/sbin,tmp,var/tmp,var/lib/segue,proc,sys,dev}
for name in bin lib lib64 sbin; do
    ln -s "usr/$name" "$root/$name"
done
chmod 1777 "$root/tmp" "$root/var/tmp"
# Whoever the container runs as may write here: user 10001 unless somebody says otherwise.
# A new volume takes these rights over.
chmod 1777 "$root/var/lib/segue"

for name in "$@"; do
    if [ "$name" = git ]; then take_git; else take_program "$name"; fi
done
# Loaded by name while running: how to prove who one is to MySQL.
if [ -n "$(find "$root/usr/lib" -name 'libmariadb.so*')" ]; then
    for name in /usr/lib/*/libmariadb3/plugin/{caching_sha2_password,sha256_password,client_ed25519,mysql_clear_password}.so; do
        [ ! -e "$name" ] || take "$name"
    done
fi
mkdir -p "$root/etc/ssl/certs" "$root/usr/lib/ssl"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
packages[ca-certificates]=1
ln -s /etc/ssl/certs "$root/usr/lib/ssl/certs"
cp -L /etc/ssl/openssl.cnf "$root/etc/ssl/"
ln -s /etc/ssl/openssl.cnf "$root/usr/lib/ssl/openssl.cnf"
packages[openssl]=1

printf 'root:x:0:0:root:/:/nonexistent\nsegue:x:10001:10001:Segue:/tmp:/nonexistent\n' >"$root/etc/passwd"
printf 'root:x:0:\nsegue:x:10001:\n' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
cp /etc/os-release "$root/etc/os-release"

mkdir -p "$root/var/lib/dpkg/status.d" "$root/usr/share/doc/segue"
install -m 644 "$here/../../LICENSE" "$root/usr/share/doc/segue/copyright"
for name in "${!packages[@]}"; do
    dpkg-query -s "$name" >"$root/var/lib/dpkg/status.d/${name%%:*}"
    install -D -m 644 "/usr/share/doc/${name%%:*}/copyright" "$root/usr/share/doc/${name%%:*}/copyright"
done
printf '%s\n' "${!packages[@]}" | LC_ALL=C sort |
    "$here/sbom.sh" "$(basename "$root")" "$root" >"$root/usr/share/doc/segue/sbom.spdx.json"

find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
