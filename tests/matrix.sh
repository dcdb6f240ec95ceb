#!/usr/bin/env bash
# The tests with every supported Python that is here, with the oldest dependencies on the oldest of them, and the tests of everything
# that touches pysqream with its newest release. A copy of the checkout is tested, so that it can be worked on meanwhile.
#
# usage: tests/matrix.sh [PYTHON ...]      default: python3.9 to python3.13, from PATH or from pyenv
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
if git rev-parse --git-dir >/dev/null 2>&1; then
    git ls-files -z --cached --others --exclude-standard
else
    find . \( -type f -o -type l \) -not -path '*/.venv/*' -not -name '*.pyc' -print0
fi | tar --null --files-from=- --ignore-failed-read --create | tar --extract --directory "$work/source"

find_python() { # VERSION: prints a python that starts
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/"python$1"; do
        if "$candidate" -c '' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return
        fi
    done
}

pythons=("$@")
if [ ${#pythons[@]} = 0 ]; then
    for version in 3.9 3.10 3.11 3.12 3.13; do
        python=$(find_python "$version")
        [ -n "$python" ] && pythons+=("$python") || echo "no python$version here: not tested"
    done
fi

failed=0
run() { # NAME PYTHON PIP_OPTIONS... -- PYTEST_ARGUMENTS...
    local name=$1 venv="$work/$1" install=() last
    "$2" -m venv "$venv"
    shift 2
    while [ "$1" != -- ]; do
        install+=("$1")
        shift
    done
    shift
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$work/source[dev]"
    if [ ${#install[@]} != 0 ]; then
        "$venv/bin/pip" install --quiet --disable-pip-version-check "${install[@]}"
    fi
    if (cd "$work/source" && "$venv/bin/python" -m pytest -q --numprocesses 3 --dist worksteal "$@") >"$work/$name.log" 2>&1; then
        last=$(tail -n 1 "$work/$name.log")
    else
        failed=1
        last="FAILED: $(tail -n 1 "$work/$name.log")"
        cat "$work/$name.log"
    fi
    rm -rf "$venv"
    echo "$name: $last"
}

for python in "${pythons[@]}"; do
    run "$("$python" -c 'import sys; print("python-%d.%d.%d" % sys.version_info[:3])')" "$python" --
done
run lowest "${pythons[0]}" --requirement "$work/source/tests/lowest.txt" --
# 6.3.0 is refused by its own metadata on Pythons newer than 3.13.1, and wants older releases of what it needs, so sqmon's pin is overruled.
for python in "${pythons[@]}"; do
    if "$python" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info <= (3, 13, 1))'; then
        run pysqream-6.3.0 "$python" pysqream==6.3.0 'setuptools>=77' -- \
            tests/simulator tests/database tests/test_end_to_end.py tests/cli/test_refusals.py
        break
    fi
done
exit $failed
