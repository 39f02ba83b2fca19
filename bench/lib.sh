# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For benchmarks: a TPM and a folder as tests have them, and medians of whole processes in turns, so
# that what else the machine does meets all of them alike.
BENCH=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$BENCH/../tests/lib.sh"

declare -A samples

# sample NAME COMMAND…: runs it once and notes how long it took, in microseconds.
sample() {
        local name=$1 begun

        shift
        begun=${EPOCHREALTIME/./}
        "$@" >"$OUT" 2>"$ERR" </dev/null || {
                cat "$OUT" "$ERR" >&2
                fail "$name failed"
        }
        samples[$name]+=" $((${EPOCHREALTIME/./} - begun))"
}

median() {
        tr ' ' '\n' <<<"${samples[$1]}" | grep . | sort -n |
                awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# report NAME: its median, and from where to where it went.
report() {
        tr ' ' '\n' <<<"${samples[$1]}" | grep . | sort -n |
                awk -v name="$1" -v m="$(median "$1")" 'NR == 1 { a = $1 } { b = $1 } END {
                        printf "  %-22s %8.1f ms   (%.1f to %.1f)\n", name, m / 1000, a / 1000, b / 1000
                }'
}

# ratio A B AIM: A's median in parts of B's.
ratio() {
        awk -v a="$1" -v b="$2" -v aim="$3" -v x="$(median "$1")" -v y="$(median "$2")" \
                'BEGIN { printf "  %s / %s = %.2f   (aim: below %s)\n", a, b, x / y, aim }'
}
