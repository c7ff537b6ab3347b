# shellcheck shell=bash
# For scripts that compare with programs from PyPI (sourced).

# peers_work NAME [DIR]: sets `work`.  DIR is kept: its environment and results serve the next run too;
# without one it is a temporary folder that goes at the end.
peers_work() {
    if [[ -n ${2:-} ]]; then
        mkdir -p "$2"
        work=$2
    else
        work=$(mktemp -d "${TMPDIR:-/var/tmp}/fraudd-$1.XXXXXX")
        trap 'rm -rf "$work"' EXIT
    fi
}

# peers_install PACKAGE..: sets `python`, of a throwaway environment in $work with these packages.
peers_install() {
    python=$work/venv/bin/python
    [[ -x $python ]] || python3 -m venv "$work/venv"
    "$python" -m pip install -q "$@"
}

# The environment may name old kernels for OpenBLAS; both sides choose their own.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
