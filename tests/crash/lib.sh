# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# A rotation, recorded: `. "$(dirname "$0")/lib.sh"`, with the programs of meson.build in CRASH_…, and
# $seed set.
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

# crash_disks COUNT: $DIR/disk0.img …, as an owner has them: with a passphrase and a token of others.
crash_disks() {
        local i disk

        rm -rf "$STATE" "$DIR"/disk*.img "$DIR"/disk*.before "$DIR"/state.before
        tpm_other
        printf 'a passphrase' >"$DIR/pass"
        disks=()
        for ((i = 0; i < $1; i++)); do
                disk=$DIR/disk$i.img
                disks+=("$disk")
                image "disk$i.img" 20M
                expect 0 ds format "$disk" --name "d$i" --yes
                expect 0 ds recovery add "d$i"
                cryptsetup token import --token-id 9 "$disk" \
                        <<<'{"type":"theirs","keyslots":["1"],"x":1}'
                cp --sparse=always "$disk" "$DIR/disk$i.before"
        done
        cp -r "$STATE" "$DIR/state.before"
        tpm_keep
}

# crash_record COMMAND…: its log is $DIR/log; the keys that the TPM gives before and after, $DIR/keys.
crash_record() {
        rm -f "$DIR/log"
        "$CRASH_KEYS" "$TCTI" "${disks[0]}" >"$DIR/keys"
        CRASH_LOG=$DIR/log CRASH_DISKS=$(IFS=:; echo "${disks[*]}") LD_PRELOAD=$CRASH_RECORD \
                "$@" >"$DIR/log.out" 2>&1 || {
                cat "$DIR/log.out" >&2
                return 1
        }
}

crash_keys_after() {
        "$CRASH_KEYS" "$TCTI" "${disks[0]}" >>"$DIR/keys"
}

# crash_explore DEPTH OPTION…
crash_explore() {
        local depth=$1 seed=${seed:-1}

        shift
        "$CRASH_EXPLORE" --depth "$depth" --log "$DIR/log" --keys "$DIR/keys" --seed "$seed" "$@" \
                "${disks[@]/%.img/.before}"
}
