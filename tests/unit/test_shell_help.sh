#!/bin/bash
# Man pages and completion: made from --help, so complete; accepted by the tools that read them.
set -u
cd "$(dirname "$0")/../.." || exit 2
program=build/release/fraudd
dir=$(mktemp -d /tmp/fraudd-test-shell-XXXXXX)
trap 'rm -rf "$dir"' EXIT
fail() { echo "FAIL: $*"; exit 1; }
names() { sed -n 's/^  \([a-z]*\)  .*/\1/p'; }
options() { sed -n 's/^  \(--[a-z.-]*\).*/\1/p'; }
verbs=$("$program" --help | names)
[ "$(echo "$verbs" | wc -w)" -ge 10 ] || fail "--help lists too few verbs"

# man pages: every verb and action with all its options, in the rendered text
etc/man/pages.sh "$program" "$dir/man" 2026-04-01 || fail "no man pages"
mandoc -Tlint -Wwarning "$dir"/man/* >"$dir/lint" || { cat "$dir/lint"; fail "mandoc complains"; }
shown() { mandoc -Tascii -Owidth=1000 "$1" | sed 's/.\x08//g'; } # no overstriking
for verb in $verbs; do
    page=$dir/man/fraudd-$verb.1
    shown "$page" >"$dir/page" || fail "fraudd-$verb.1 cannot be shown"
    help=$("$program" "$verb" --help)
    wanted=$(echo "$help" | options)
    if echo "$help" | grep -q '^actions:'; then
        for action in $(echo "$help" | names); do
            grep -qx "${action^^}" "$dir/page" || fail "fraudd-$verb.1 lacks the action $action"
            wanted+=" $("$program" "$verb" "$action" --help | options)"
        done
    fi
    [ -n "$wanted" ] || fail "$verb has no options"
    for option in $wanted; do
        grep -qE -- "^ +$option(=| |$)" "$dir/page" || fail "fraudd-$verb.1 lacks $option"
    done
    shown "$dir/man/fraudd.1" | grep -q "fraudd-$verb(1)" || fail "fraudd.1 does not name fraudd-$verb"
done
shown "$dir/man/fraudd.1" >"$dir/page"
for code in 0 1 64 65 66 69 70 74 77 78; do
    grep -qE "^ +$code +[a-zA-Z]" "$dir/page" || fail "fraudd.1 lacks exit code $code"
done
shown "$dir/man/fraudd.conf.5" >"$dir/page"
"$program" check --help | options | grep -v '^--config$' | sed 's/^--//' | while read -r setting; do
    grep -qE "^ +$setting(=|$)" "$dir/page" || fail "fraudd.conf.5 lacks $setting"
done || exit 1

# completion
etc/completion/make.sh bash "$program" >"$dir/fraudd.bash" && etc/completion/make.sh zsh "$program" >"$dir/_fraudd" ||
    fail "no completion"
zsh -n "$dir/_fraudd" || fail "zsh does not read the completion"
cat >"$dir/ask" <<'END'
. "$1"
complete -p fraudd >/dev/null || exit 1
COMP_LINE=$2 COMP_POINT=${#2}
_fraudd
printf '%s\n' "${COMPREPLY[@]}"
END
offers() { # offers "LINE" "WANTED"
    local got
    got=$(bash "$dir/ask" "$dir/fraudd.bash" "$1" | tr '\n' ' ')
    [ "${got% }" = "$2" ] || fail "after \"$1\": \"$got\", wanted \"$2\""
}
offers "fraudd sc" "score"
offers "fraudd --v" "--version"
offers "fraudd alerts cl" "claim"
offers "fraudd alerts claim --le" "--lease="
offers "fraudd score --alert." "--alert.budget= --alert.day-offset= --alert.floor="
offers "fraudd train --input=READ" "README.md"
offers "fraudd backtest --js" "--json"
offers "fraudd produce READ" "README.md"
offers "fraudd alerts claim --le --json x" ""
for verb in $verbs; do
    for option in $("$program" "$verb" --help | options); do
        bash "$dir/ask" "$dir/fraudd.bash" "fraudd $verb $option" | grep -q -- "^$option=\?$" ||
            fail "fraudd $verb: $option is not offered"
    done
done
# zsh asks its own functions; what they get is looked at by stand-ins
zsh -f -c '
compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -l -- $@ }
_files() { print files }
compset() { : }
words=(fraudd alerts claim --le) CURRENT=4
complete_it() { source '"$dir"'/_fraudd }
complete_it' >"$dir/zsh" 2>&1
grep -qx -- '--lease=' "$dir/zsh" && grep -qx -- '--json' "$dir/zsh" || { cat "$dir/zsh"; fail "zsh: no --lease="; }
exit 0
