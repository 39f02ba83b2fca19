# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For the tests of the tree itself: tests/check-*. Each takes the root of a tree, by default its
# own, writes a line for each breach, and exits 1 where there was one.
set -euo pipefail

cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"
breaches=0

# breach FILE[:LINE] WORDS…
breach() {
        echo "$1: ${*:2}"
        breaches=$((breaches + 1))
}

# Ends a check. A check that looked at nothing proves nothing.
verdict() {
        local looked_at=$1

        if [[ $looked_at -eq 0 ]]; then
                echo "nothing to look at in $PWD"
                exit 1
        fi
        [[ $breaches -eq 0 ]]
}

# tree_files PATTERN…: the files of the tree whose names match, but for build folders.
tree_files() {
        local pattern names=()

        for pattern; do
                names+=(-o -name "$pattern")
        done
        find . -type d \( -name .git -o -name 'build*' -o -name __pycache__ \) -prune \
                -o -type f \( "${names[@]:1}" \) -print | sed 's|^\./||' | sort
}

# Scripts are known by their first line.
tree_scripts() {
        local file first

        tree_files '*' | while read -r file; do
                first=
                IFS= read -r first 2>/dev/null <"$file" || true
                [[ $first == '#!'*"$1"* ]] && echo "$file"
        done 2>/dev/null || true
}

# tools_needed PROGRAM…: tools/setup --tests installs them.
tools_needed() {
        local program

        for program; do
                if ! command -v "$program" >/dev/null; then
                        echo "SKIP: $program isn't installed"
                        exit 77
                fi
        done
}
