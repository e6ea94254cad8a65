#!/usr/bin/env bash
# check_format.sh - is every C file formatted by .clang-format? (.def files are tables: no.)
#
# Another clang-format formats a little differently, so only the version that the project
# uses decides; with any other the check is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly VERSION=14

tool=clang-format-$VERSION
command -v "$tool" >/dev/null || tool=clang-format
found=$("$tool" --version 2>/dev/null | sed -n 's/.*version \([0-9]*\).*/\1/p') || true
if [ "$found" != $VERSION ]; then
    echo "format: skipped, needs clang-format $VERSION and found ${found:-none}"
    exit 0
fi
find common task_manager data_processor taskctl pipeline examples tests -name '*.[ch]' -print0 |
    xargs -0 "$tool" --dry-run -Werror ||
    {
        echo "format: run clang-format -i on the files named above" >&2
        exit 1
    }
echo "format: ok"
