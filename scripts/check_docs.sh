#!/usr/bin/env bash
# check_docs.sh - do the generated pages say what the settings table says?
#
#   scripts/check_docs.sh [BIN]   BIN: folder with task_manager (default build/bin)
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${1:-build/bin}

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
mkdir -p "$copy/docs" "$copy/packaging"
cp docs/config.md "$copy/docs/"
cp docker-compose.yml "$copy/"
scripts/gen_docs.sh "$bin" "$copy"
for page in docs/config.md packaging/segue.env.example .env.example docker-compose.yml; do
    diff -u "$page" "$copy/$page" >&2 || {
        echo "docs: $page is out of date; run scripts/gen_docs.sh $bin" >&2
        exit 1
    }
done

if command -v mandoc >/dev/null; then
    mandoc -T lint -W warning man/*.[18] >&2
fi

# Whoever is paged finds a page about it.
rules=packaging/observe/rules.yml
for alert in $([ ! -e $rules ] || sed -n 's/^ *- alert: *//p' $rules); do
    grep -qx "### $alert" docs/operations.md || {
        echo "docs: docs/operations.md says nothing of the alert $alert" >&2
        exit 1
    }
done
echo "docs: ok"
