#!/usr/bin/env bash
# build.sh - builds the Debian package of this tree for the Debian that it runs on.
#
#   packaging/deb/build.sh [FOLDER]   puts segue_*.deb there (default: build/package)
#
# Needs the packages of `scripts/packages.sh build package`, which it installs. The package
# belongs to the release it was built on: that decides the names and versions of libraries.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(realpath -m "${1:-build/package}")

scripts/packages.sh build package
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then # the same tree gives the same package
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
fi
export SOURCE_DATE_EPOCH
cmake --preset package >/dev/null
cmake --build --preset package -j "$(nproc)" -- --quiet
mkdir -p "$out"
(cd build/package && cpack -G DEB -B "$out" --config CPackConfig.cmake >/dev/null)
rm -rf "$out/_CPack_Packages"
ls "$out"/segue_*.deb
