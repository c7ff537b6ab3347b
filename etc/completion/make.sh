#!/bin/sh
# Shell completion from what the program says of itself (--help, printed from the option tables).
#   make.sh bash|zsh PROGRAM          prints the completion script
set -eu
shell=$1 program=$2
names() { sed -n 's/^  \([a-z]*\)  .*/\1/p' | tr '\n' ' '; }
# flags as they are, others with what a value follows
options() { sed -n 's/^  \(--[a-z.-]*=\{0,1\}\).*/\1/p' | tr '\n' ' '; }
verbs=$("$program" --help | names)

# one line a case: WORDS of the command line so far, then what may follow
cases() {
    for verb in $verbs; do
        help=$("$program" "$verb" --help)
        if echo "$help" | grep -q '^actions:'; then
            actions=$(echo "$help" | names)
            echo "$verb:$actions--help"
            for action in $actions; do
                echo "$verb $action:$("$program" "$verb" "$action" --help | options)--help"
            done
        else
            echo "$verb:$(echo "$help" | options)--help"
        fi
    done
}
# shell code that sets `offers` by "$verb" and "$verb $action"
table() {
    echo "    case \"\$verb \$action\" in"
    cases | awk -F: 'split($1, w, " ") == 2 { printf "    \"%s\") offers=\"%s\" ;;\n", $1, $2 }'
    echo "    *)"
    echo "        case \$verb in"
    cases | awk -F: 'split($1, w, " ") == 1 { printf "        %s) offers=\"%s\" ;;\n", $1, $2 }'
    echo "        '') offers=\"$verbs--help --version\" ;;"
    echo "        esac ;;"
    echo "    esac"
}

case $shell in
bash)
    cat <<'END'
# bash completion for fraudd; made by etc/completion/make.sh from the program
_fraudd() {
    local line=${COMP_LINE:0:COMP_POINT} verb="" action="" offers="" word
    local -a words
    read -r -a words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[${#words[@]} - 1]}
    ((${#words[@]} > 2)) && verb=${words[1]}
    ((${#words[@]} > 3)) && action=${words[2]}
END
    table
    cat <<'END'
    COMPREPLY=()
    case $word in
    --*=*)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "${word#*=}") ;;
    -*)
        mapfile -t COMPREPLY < <(compgen -W "$offers" -- "$word") ;;
    *)
        mapfile -t COMPREPLY < <(compgen -W "$offers" -- "$word")
        if [[ -n $verb && -z ${COMPREPLY[*]} ]]; then
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi ;;
    esac
    [[ ${COMPREPLY[*]} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -F _fraudd fraudd
END
    ;;
zsh)
    cat <<'END'
#compdef fraudd
# zsh completion for fraudd; made by etc/completion/make.sh from the program
local verb="" action="" offers="" word=${words[CURRENT]}
((CURRENT > 2)) && verb=${words[2]}
((CURRENT > 3)) && action=${words[3]}
END
    table
    cat <<'END'
if [[ $word == --*=* ]]; then
    compset -P '*='
    _files
else
    local -a valued flags
    valued=(${(M)${=offers}:#*=})
    flags=(${${=offers}:#*=})
    compadd -S '' -- $valued
    compadd -- $flags
    [[ -z $verb || $word == -* ]] || _files
fi
END
    ;;
*)
    echo "make.sh: bash or zsh, not \"$shell\"" >&2
    exit 64
    ;;
esac
