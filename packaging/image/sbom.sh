#!/usr/bin/env bash
# sbom.sh - what an image is made of, as SPDX 2.3 (JSON).
#
#   sbom.sh NAME ROOT <packages   one Debian package a line; ROOT holds our own programs
#
# Reads dpkg's list of the container it runs in; the same list gives the same bytes.
set -euo pipefail
name=$1 root=$2
: "${SOURCE_DATE_EPOCH:?}"
. /etc/os-release
version=$(sed -n 's/^project(segue VERSION \([0-9.]*\).*/\1/p' "$(dirname "$0")/../../CMakeLists.txt")

text() { printf '"%s"' "$(printf %s "$1" | tr -d '\000-\037' | sed 's/\\/\\\\/g; s/"/\\"/g')"; }
id() { printf 'SPDXRef-%s' "$(printf %s "$1" | tr -c 'A-Za-z0-9.-' -)"; }
escape() { printf %s "$1" | sed 's/%/%25/g; s/:/%3A/g; s/+/%2B/g; s/~/~/g'; }

packages='' relations='' contents=''
add_package() { # ID NAME VERSION SUPPLIER HOMEPAGE MORE
    packages+=$(printf ',\n  {"SPDXID": %s, "name": %s, "versionInfo": %s, "supplier": %s, "homepage": %s,\n   "downloadLocation": "NOASSERTION", "filesAnalyzed": false, "licenseConcluded": "NOASSERTION", "copyrightText": "NOASSERTION"%s}' \
        "$(text "$1")" "$(text "$2")" "$(text "$3")" "$(text "$4")" "$(text "${5:-NOASSERTION}")" "$6")
}

add_package SPDXRef-Segue segue "$version" NOASSERTION '' ', "licenseDeclared": "Apache-2.0"'
while IFS= read -r package; do
    IFS=$'\t' read -r binary release arch source maintainer homepage < <(dpkg-query -W \
        -f '${binary:Package}\t${Version}\t${Architecture}\t${source:Package}\t${Maintainer}\t${Homepage}\n' "$package")
    plain=${binary%%:*}
    contents+="$plain $release $arch"$'\n'
    purl="pkg:deb/debian/$(escape "$plain")@$(escape "$release")?arch=$arch&distro=debian-$VERSION_ID"
    add_package "$(id "deb-$plain")" "$plain" "$release" "Person: $maintainer" "$homepage" \
        "$(printf ',\n   "licenseDeclared": "NOASSERTION", "sourceInfo": %s,\n   "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": %s}]' \
            "$(text "built from $source; licence: /usr/share/doc/$plain/copyright")" "$(text "$purl")")"
    relations+=$(printf ',\n  {"spdxElementId": "SPDXRef-Segue", "relationshipType": "DEPENDS_ON", "relatedSpdxElement": %s}' "$(text "$(id "deb-$plain")")")
done

for program in "$root"/usr/bin/*; do
    [ ! -f "$program" ] || contents+="$(sha256sum <"$program" | cut -c1-64) $(basename "$program")"$'\n'
done
digest=$(printf %s "$contents" | sha256sum | cut -c1-64)

cat <<JSON
{"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
 "name": $(text "segue-$name-$version"),
 "documentNamespace": $(text "urn:sha256:$digest"),
 "creationInfo": {"created": "$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)", "creators": ["Tool: packaging/image/sbom.sh"]},
 "packages": [
${packages#,$'\n'}
 ],
 "relationships": [
  {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-Segue"}$relations
 ]}
JSON
