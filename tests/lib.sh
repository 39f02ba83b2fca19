# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For shell tests of the program: `. "$(dirname "$0")/lib.sh"`. A test is a list of commands; the
# first that fails ends it. Each test has a TPM and a state folder of its own, so that tests can run
# side by side; nothing of them outlives it.
#
#   $DIR     the test's folder; removed at the end
#   $TCTI    its TPM
#   $STATE   the program's state folder
#   $OUT     what the last expect() wrote to stdout; $ERR: to stderr; both are files
set -euo pipefail
set -o errtrace
shopt -s inherit_errexit

: "${DISKSEAL:=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/build/diskseal}"
: "${ASK_TPM:=$(dirname "$DISKSEAL")/tests/ask-tpm}"
DIR=$(mktemp -d "${TMPDIR:-/tmp}/diskseal-XXXXXX")
TCTI=swtpm:path=$DIR/tpm
STATE=$DIR/state
OUT=$DIR/out
ERR=$DIR/err
tpm_pid=
tpms=0
export TPM2TOOLS_TCTI=$TCTI TSS2_LOG=all+NONE
unset DISKSEAL_TCTI

# Of a trap that does more than this: the status that it begins with is its argument.
at_exit() {
        local status=${1:-$?}

        tpm_stop
        rm -rf "$DIR"
        exit "$status"
}
trap at_exit EXIT
trap 'exit 130' INT TERM HUP
trap 'echo "${BASH_SOURCE[0]}:$LINENO: $BASH_COMMAND: exit status $?" >&2' ERR

fail() {
        echo "${BASH_SOURCE[-1]}:${BASH_LINENO[-2]}: $*" >&2
        exit 1
}

# What can't be tried here isn't a success: tools/check counts it, and prints the reason.
skip() {
        echo "SKIP: $*"
        exit 77
}

# --- the TPM ---

# As a firmware leaves it: started up, PCR 7 extended.
tpm_start() {
        tpm_power_on
        pcr_extend 7
}

# tpm_boot EXTENDS: what a boot measured: a file of lines as tpm2_pcrextend takes them.
tpm_boot() {
        local extends

        mapfile -t extends <"$1"
        tpm_stop
        tpm_power_on
        "$ASK_TPM" "$DIR/tpm" extend "${extends[@]}"
}

# Started up, and nothing measured. Returns when it listens, which the existence of its socket alone
# doesn't say.
tpm_power_on() {
        mkdir -p "$DIR/tpm-$tpms"
        rm -f "$DIR/tpm" "$DIR/tpm.ctrl"
        setpriv --pdeathsig KILL swtpm socket --tpm2 --flags not-need-init,startup-clear \
                --server "type=unixio,path=$DIR/tpm" --ctrl "type=unixio,path=$DIR/tpm.ctrl" \
                --tpmstate "dir=$DIR/tpm-$tpms" >"$DIR/tpm.log" 2>&1 </dev/null &
        tpm_pid=$!
        "$ASK_TPM" "$DIR/tpm" wait && return
        cat "$DIR/tpm.log" >&2
        fail "swtpm doesn't start"
}

# As a host that pulls the plug.
tpm_stop() {
        [[ $tpm_pid ]] || return 0
        kill -KILL "$tpm_pid" 2>/dev/null || true
        wait "$tpm_pid" 2>/dev/null || true
        tpm_pid=
}

# Power off and on: PCRs and what isn't persistent are gone.
tpm_restart() {
        tpm_stop
        tpm_start
}

# Keeps all that the TPM has, and puts it back, as only who owns a simulator can: its counters, which
# otherwise never go back, belong to the disks and states that a test keeps and puts back.
tpm_keep() {
        tpm_stop
        rm -rf "$DIR/tpm-kept"
        cp -r "$DIR/tpm-$tpms" "$DIR/tpm-kept"
        tpm_start
}

tpm_back() {
        tpm_stop
        rm -rf "$DIR/tpm-$tpms"
        cp -r "$DIR/tpm-kept" "$DIR/tpm-$tpms"
        tpm_start
}

# Another TPM in its place.
tpm_other() {
        tpm_stop
        tpms=$((tpms + 1))
        tpm_start
}

# pcr_extend N [BANK]: by a fixed digest.
declare -A digests=()
pcr_extend() {
        local bank=${2:-sha256} sum

        if [[ -z ${digests[$bank]-} ]]; then
                sum=$("${bank}sum" <<<measured)
                digests[$bank]=${sum%% *}
        fi
        "$ASK_TPM" "$DIR/tpm" extend "$1:$bank=${digests[$bank]}"
}

# Nothing was left in the TPM: raw, it has room for three objects and three sessions.
tpm_clean() {
        local left

        left=$("$ASK_TPM" "$DIR/tpm" left)
        [[ -z $left ]] || fail 'left in the TPM:' "$left"
}

# --- the program ---

ds() {
        "$DISKSEAL" --tcti="$TCTI" --state-dir="$STATE" --config-dir="$DIR/config" "$@"
}

# settings SECTION LINE…: of agent.conf, in place of what was there.
settings() {
        mkdir -p "$DIR/config"
        printf '%s\n' "[$1]" "${@:2}" >"$DIR/config/agent.conf"
}

# ds_start VERB…: in the background; $pid is the program's own, so that it can be killed.
ds_start() {
        "$DISKSEAL" --tcti="$TCTI" --state-dir="$STATE" --config-dir="$DIR/config" "$@" \
                >"$DIR/log" 2>&1 </dev/null &
        # shellcheck disable=SC2034 # for the test
        pid=$!
}

# expect STATUS[,STATUS] COMMAND…: runs it and holds its exit status against that.
expect() {
        local want=$1 got=0

        shift
        "$@" >"$OUT" 2>"$ERR" </dev/null || got=$?
        [[ ,$want, == *,$got,* ]] && return
        sed 's/^/  stdout: /' "$OUT" >&2
        sed 's/^/  stderr: /' "$ERR" >&2
        fail "'$*': exit status $got, expected $want"
}

# expect_out REGEX, expect_err REGEX: a line of the last expect()'s output matches.
expect_out() {
        grep -qE -- "$1" "$OUT" && return
        sed 's/^/  stdout: /' "$OUT" >&2
        fail "no line on stdout matches '$1'"
}

expect_err() {
        grep -qE -- "$1" "$ERR" && return
        sed 's/^/  stderr: /' "$ERR" >&2
        fail "no line on stderr matches '$1'"
}

# json FILTER: what the filter makes of the last object on the last expect()'s stdout; null, false or
# nothing fails.
json() {
        jq --exit-status --raw-output --slurp "last | $1" "$OUT" && return
        sed 's/^/  stdout: /' "$OUT" >&2
        fail "json: '$1' finds nothing"
}

# --- disks ---

# image NAME SIZE: a sparse file $DIR/NAME, all zero.
image() {
        truncate --size "$2" "$DIR/$1"
}

# unchanged FILE COPY: byte for byte.
unchanged() {
        cmp "$1" "$2" || fail "$1 was changed"
}

# changed_within FILE COPY LIMIT: they differ, and only in the first LIMIT bytes.
changed_within() {
        local differ last

        differ=$(cmp --verbose "$1" "$2" || true)
        [[ $differ ]] || fail "$1 wasn't changed"
        last=$(tail -n 1 <<<"$differ" | awk '{ print $1 }')
        [[ $last -le $3 ]] || fail "$1 was changed at byte $((last - 1)), beyond $3"
}
