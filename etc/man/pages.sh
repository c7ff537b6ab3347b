#!/bin/sh
# Man pages from what the program says of itself: one a verb, fraudd(1) and fraudd.conf(5).
#   pages.sh PROGRAM FOLDER DATE      DATE (2026-04-01) stands in the pages' foot
# --help is printed from the option tables, so the pages have no text of their own that could go
# stale; the exit codes are README.md's.
set -eu
program=$1 out=$2 date=$3
readme=$(dirname "$0")/../../README.md
mkdir -p "$out"

page() { # page NAME SECTION "SUMMARY"
    printf '.\\" made by etc/man/pages.sh from the program\n.TH %s %s %s fraudd "fraudd manual"\n' \
        "$(echo "$1" | tr '[:lower:]' '[:upper:]')" "$2" "$date"
    printf '.SH NAME\n%s \\- %s\n' "$1" "$3"
}
# --help as man(7): paragraphs, option lists and examples; level: SH, or SS below an action's heading
render() { # render LEVEL
    awk -v level="$1" '
    function plain(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); sub(/^[.\x27]/, "\\\\\\&&", s); return s }
    function head(s) { print "." level " " s }
    /^usage: / { head("SYNOPSIS"); sub(/^usage: /, "")
                 print ".B " plain($0); part = "about"; next }
    /^options:$/ { head("OPTIONS"); part = "options"; next }
    /^actions:$/ { head("ACTIONS"); part = "actions"; next }
    /^verbs:$/ { head("VERBS"); part = "verbs"; next }
    /^example:$/ { head("EXAMPLE"); part = "example"; next }
    /^$/ { gap = 1; next }
    part == "about" { if (!described++) head("DESCRIPTION")
                      else if (gap) print ".PP"
                      gap = 0; print plain($0); next }
    part == "example" { sub(/^  /, ""); print ".nf\n" plain($0) "\n.fi"; next }
    /^  / { sub(/^  /, ""); name = $0; sub(/ .*/, "", name); sub(/^[^ ]* +/, "")
            if (part == "verbs") name = "fraudd-" name "(1)"
            print ".TP\n.B " plain(name) "\n" plain($0); next }
    { print ".PP\n" plain($0) }'
}
exits() {
    echo '.SH EXIT STATUS'
    awk -F ' *[|] *' '/^## Exit codes/ { on = 1 } on && $2 ~ /^[0-9]+$/ { gsub(/-/, "\\-", $3); gsub(/`/, "", $3)
        print ".TP\n.B " $2 "\n" $3 } /^## / && !/Exit codes/ { on = 0 }' "$readme"
}
also() { printf '.SH SEE ALSO\n.BR fraudd (1),\n.BR fraudd.conf (5)\n'; }

verbs=$("$program" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p')
{
    page fraudd 1 "scores card payments from Kafka as they happen"
    "$program" --help | render SH
    exits
    printf '.SH SEE ALSO\n.BR fraudd.conf (5)\n'
} >"$out/fraudd.1"
for verb in $verbs; do
    help=$("$program" "$verb" --help)
    {
        page "fraudd-$verb" 1 "$("$program" --help | sed -n "s/^  $verb  *//p")"
        echo "$help" | render SH
        if echo "$help" | grep -q '^actions:'; then
            for action in $(echo "$help" | sed -n 's/^  \([a-z]*\)  .*/\1/p'); do
                echo ".SH \"$(echo "$action" | tr '[:lower:]' '[:upper:]')\""
                "$program" "$verb" "$action" --help | render SS
            done
        fi
        exits
        also
    } >"$out/fraudd-$verb.1"
done
{
    page fraudd.conf 5 "settings of fraudd"
    echo '.SH DESCRIPTION'
    sed -n '/^#/!q; s/^# //p' "$(dirname "$0")/../fraudd.conf" | sed '$d' | # the last is the first setting's
        sed 's/\\/\\e/g; s/-/\\-/g; s/^kafka = .*/.PP\n.nf\n&\n.fi/'
    printf '.PP\nA dotted name such as\n.I alert.budget\nis the member\n.I budget\nof the group\n.IR alert ;\n'
    printf 'the value in brackets is the default.\n'
    # every verb with settings prints the table; check prints all of it
    "$program" check --help | sed -n '/^options:/,/^$/p' | grep -v '^  --config=' |
        sed 's/^  --/  /' | render SH
    printf '.SH SEE ALSO\n.BR fraudd (1),\n.BR fraudd\\-check (1)\n'
} >"$out/fraudd.conf.5"
