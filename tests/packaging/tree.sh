# tree.sh - fresh Debian trees to try things in; to be sourced by the scripts beside it.
#
# A script calls `trees_begin "$0" "$@"` first: it then runs once more in mount and process
# namespaces of its own, so that all its mounts and processes end with it, whatever happens.
# What is downloaded stays in build/trees; remove that folder for newer packages.
# MIRROR=URL chooses where Debian comes from (default: debootstrap's).

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$root/build/trees

say() { printf '== %s\n' "$*"; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}
skip() { # what this needs is not there
    printf '%s: skipped: %s\n' "$(basename "$0")" "$*" >&2
    exit 77
}

trees_begin() { # SCRIPT ARGUMENTS...
    if [ -n "${SEGUE_TREES:-}" ]; then
        # in memory where there is plenty: dpkg waits for the disk at every file
        [ -n "${KEEP_TREES:-}" ] || [ "$(awk '/^MemAvailable/ {print $2}' /proc/meminfo)" -lt $((8 << 20)) ] ||
            mount -t tmpfs -o mode=755 trees "$SEGUE_TREES"
        return 0
    fi
    [ "$(id -u)" -eq 0 ] || skip "debootstrap and chroot need root"
    "$root/scripts/packages.sh" trees || skip "the packages debootstrap and systemd-container cannot be installed"
    unshare --mount --pid --fork true 2>/dev/null || skip "no namespaces of its own may be made here"
    local rc=0
    SEGUE_TREES=$(mktemp -d "${TMPDIR:-/var/tmp}/segue-trees.XXXXXX")
    export SEGUE_TREES
    groups_before=$(list_groups)
    # a signal to this script ends the other one with all below it
    unshare --mount --pid --fork --kill-child --mount-proc "$@" &
    inner=$!
    trap 'kill -KILL $inner 2>/dev/null || true; wait $inner 2>/dev/null || true; trees_end; exit 143' INT TERM HUP
    wait $inner || rc=$?
    trees_end
    exit $rc
}

# The control groups that systemd-nspawn leaves behind, which are empty by now.
list_groups() { find /sys/fs/cgroup -maxdepth 4 -type d \( -name payload -o -name supervisor \) 2>/dev/null | sort; }

trees_end() {
    local group
    for group in $(comm -13 <(echo "$groups_before") <(list_groups)); do
        find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
    [ -z "${KEEP_TREES:-}" ] || say "kept: $SEGUE_TREES"
    [ -n "${KEEP_TREES:-}" ] || rm -rf --one-file-system "$SEGUE_TREES"
}

quietly() { # LOG COMMAND...: shows the end of the output only when the command fails
    local log=$SEGUE_TREES/$1.log
    shift
    "$@" >"$log" 2>&1 </dev/null && return
    tail -n 40 "$log" >&2
    die "failed: $*"
}

# The system before anything is added, as a tar file that later runs share.
tree_base() { # SUITE
    local tar=$cache/$1.tar tree=$SEGUE_TREES/base
    mkdir -p "$cache/debs-$1/partial"
    [ ! -e "$tar" ] || return 0
    say "debootstrap $1"
    debootstrap --variant=minbase --cache-dir="$cache/debs-$1" "$1" "$tree" ${MIRROR:+"$MIRROR"} \
        >"$SEGUE_TREES/debootstrap.log" 2>&1 || {
        tail -n 20 "$SEGUE_TREES/debootstrap.log" >&2
        skip "debootstrap cannot make a tree of $1 here"
    }
    rm -f "$tree/var/cache/apt/archives/"*.deb
    tar -C "$tree" -cf "$tar.new" .
    mv "$tar.new" "$tar"
    rm -rf --one-file-system "$tree"
}

device() { mknod -m 666 "$1" c "$2" "$3"; }

# A tree with its own /proc, /dev and /tmp, the package cache, and no services that start.
tree_new() { # SUITE DIRECTORY
    local tree=$2 name
    tree_base "$1"
    mkdir -p "$tree"
    tar -C "$tree" -xf "$cache/$1.tar"
    cp -L /etc/resolv.conf "$tree/etc/resolv.conf" 2>/dev/null || true
    printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
    chmod 755 "$tree/usr/sbin/policy-rc.d"
    tree_mount "$tree"
    mkdir -p "$tree/var/cache/apt/archives"
    mount --bind "$cache/debs-$1" "$tree/var/cache/apt/archives"
    echo force-unsafe-io >"$tree/etc/dpkg/dpkg.cfg.d/unsafe-io"
    # fetched once, kept for the next tree
    echo 'Binary::apt-get::APT::Keep-Downloaded-Packages "true";' >"$tree/etc/apt/apt.conf.d/90keep"
    quietly update tree_run "$tree" apt-get -q update
}

tree_mount() { # TREE
    local tree=$1
    mount -t proc proc "$tree/proc"
    mount -t tmpfs -o mode=755 dev "$tree/dev"
    device "$tree/dev/null" 1 3 && device "$tree/dev/zero" 1 5 && device "$tree/dev/full" 1 7
    device "$tree/dev/random" 1 8 && device "$tree/dev/urandom" 1 9 && device "$tree/dev/tty" 5 0
    ln -s /proc/self/fd "$tree/dev/fd"
    mkdir "$tree/dev/shm" "$tree/dev/pts"
    mount -t tmpfs shm "$tree/dev/shm"
    mount -t tmpfs tmp "$tree/tmp" -o mode=1777
}

tree_unmount() { # TREE: so that somebody else (systemd-nspawn) can mount his own
    umount -R "$1/tmp" "$1/dev/shm" "$1/dev" "$1/proc"
}

# Nothing of the caller's environment gets in.
tree_run() { # TREE COMMAND...
    local tree=$1
    shift
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        chroot "$tree" "$@"
}

tree_install() { # TREE PACKAGE...
    local tree=$1
    shift
    quietly install tree_run "$tree" apt-get -q -y install --no-install-recommends "$@"
}

# This checkout, without what was built in it.
tree_checkout() { # TREE DIRECTORY
    mkdir -p "$1$2"
    (cd "$root" && git -c safe.directory="$root" ls-files -z --cached --others --exclude-standard |
        tar --null -T - --ignore-failed-read -cf -) 2>/dev/null | tar -C "$1$2" -xf - --no-same-owner
}
