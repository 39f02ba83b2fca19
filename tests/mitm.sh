# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# For shell tests with a man in the middle between us and the TPM: source it after lib.sh.
#
#   $DIR/mitm   the socket where he takes our calls
#   $DIR/list   a line for each command: number, code, code of the answer
: "${MITM:=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/build/tests/mitm}"
mitm_pid=

# mitm_start OPTION…: as tests/mitm-main.c has them. Another one takes the place of the first.
mitm_start() {
        local i

        mitm_stop
        rm -f "$DIR/mitm"
        setpriv --pdeathsig KILL "$MITM" --listen "$DIR/mitm" --tpm "$DIR/tpm" \
                --list "$DIR/list" "$@" 2>"$DIR/mitm.log" </dev/null &
        mitm_pid=$!
        for ((i = 0; i < 2000; i++)); do
                grep -q "00010000 .* $DIR/mitm\$" /proc/net/unix && return
                sleep 0.005
        done
        fail "the man in the middle doesn't start"
}

mitm_stop() {
        [[ $mitm_pid ]] || return 0
        kill -KILL "$mitm_pid" 2>/dev/null || true
        wait "$mitm_pid" 2>/dev/null || true
        mitm_pid=
}

# How many commands there were since he started.
commands() {
        wc -l <"$DIR/list"
}
