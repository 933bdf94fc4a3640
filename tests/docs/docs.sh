#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# docs.sh SOURCE BUILD - generated documents are fresh, manual pages have no fault, every link and command leads somewhere
set -u
source=$1 build=$2 bad=0
fault() {
	printf '%s\n' "$*"
	bad=1
}
cd "$source" || exit 1

diff -u docs/protocol.md "$build/docs/protocol.md" ||
	fault 'docs/protocol.md is not what the tables say: cmake --build --preset release --target docs_update'

for page in "$build"/man/*; do
	! grep -n '@[a-z_]*@' "$page" || fault "$page: a list is missing"
	if command -v groff >/dev/null; then
		said=$(groff -man -Kutf8 -Tutf8 -ww -rLL=100n "$page" 2>&1 >/dev/null)
		[ -z "$said" ] || fault "$page: $said"
	fi
done

# Relative links of Markdown files: the file is there.
while IFS=: read -r file link; do
	[ -e "$(dirname "$file")/${link%%#*}" ] || fault "$file: link to $link leads nowhere"
done < <(grep -oHE '\]\([^)#]+' README.md CHANGELOG.md docs/*.md docs/decisions/*.md | sed 's/](/ /' |
	awk -F': ' '$2 !~ /^https?:/ { print $1 ":" $2 }')

# Each decision is in the list, and each verb of ./dev that a document names is one.
for file in docs/decisions/[0-9]*.md; do
	grep -q "$(basename "$file")" docs/decisions/README.md || fault "$file is not in docs/decisions/README.md"
done
for verb in $(grep -ohE '\./dev [a-z]+' README.md docs/*.md CHANGELOG.md | sort -u | cut -d' ' -f2); do
	grep -q "^cmd_$verb()" dev || fault "./dev $verb: no such verb"
done
exit $bad
