# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
#
# Completion for diskseal(8). Needs no package of bash completions. What it asks diskseal for needs
# no TPM, so that a key press never waits for one.

# __diskseal_disks [OPTION…]: the names of the known disks. There's no TCTI of the name "none".
__diskseal_disks() {
        diskseal "$@" --tcti=none status 2>/dev/null |
                awk 'disks { print $1 } $1 == "DISK" { disks = 1 }'
}

__diskseal_keks() {
        diskseal "$@" --tcti=none kek list 2>/dev/null | awk 'NR > 1 { print $1 }'
}

__diskseal_policies() {
        diskseal "$@" --tcti=none policy show 2>/dev/null |
                awk '/^ *The values / { exit } names { print $1 } $1 == "POLICY" { names = 1 }'
}

_diskseal() {
        local -A options=(
                [format]='-N --name --role --kek --policy --pcrs -y --yes --wipe-signature --header'
                [adopt]='-N --name -k --key-file --bek --replace --header --role --kek --policy --pcrs'
                [enroll]='--recovery-key-file --key --policy --pcrs --header'
                [unlock]='--test --boot --recovery --recovery-key-file --key --header'
                [lock]=''
                [remove]='-k --key-file --header'
                [rotate]='--kek --all --disk --staged --complete --resume --abort --retire-now --if-due --depth --explain'
                [status]=''
                [kek]='--version --before --all --force -y --yes --escrow --output'
                [recovery]='--recovery-key-file --slot --header'
                [escrow]='--cert --key --slot --header'
                [header]='--recovery-key-file --key --header -y --yes'
                [policy]='--kek --policy --recovery-key-file --key --uki --kernel --cmdline --initrd
                        --booted --variable --phase --pcr --bank --append --output'
                [doctor]=''
                [log]='--verify -n --lines -f --follow'
        )
        local globals='--tcti --state-dir --config-dir --pin-file --json -n --dry-run -q --quiet
                -h --help --version'
        local valued=' --tcti --state-dir --config-dir --pin-file -N --name -k --key-file --role --kek
                --policy --pcrs --recovery-key-file --key --header --slot --cert --bek
                --wipe-signature --uki --kernel --cmdline --initrd --booted --variable --phase
                --pcr --bank --append --output --disk --lines --before --escrow '
        valued=${valued//$'\n'/ }
        local current=${COMP_WORDS[COMP_CWORD]} option='' verb='' joined='' folders=() i word

        # To bash "=" and ":" are words: --role=o is three, and the "o" belongs to the option.
        for ((i = 1; i < COMP_CWORD; i++)); do
                word=${COMP_WORDS[i]}
                if [[ $word == [=:] ]]; then
                        joined=yes
                        continue
                elif [[ $option ]]; then
                        [[ $option == @(--state-dir|--config-dir) ]] && folders+=("$option=$word")
                        option=
                elif [[ $valued == *" $word "* ]]; then
                        option=$word
                elif [[ $word != -* && ! $verb && ! $joined ]]; then
                        verb=$word
                fi
                joined=
        done
        if [[ $current == [=:] ]]; then
                current=
        elif [[ $joined && ! $option ]]; then
                return 0 # the rest of a value that we know nothing of
        fi

        local words='' files=''
        case $option in
        --tcti) words='device:/dev/tpmrm0 swtpm:path=' ;;
        --state-dir | --config-dir | --bek) files=-d ;;
        -k | --key-file | --recovery-key-file | --key | --header | --cert | --pin-file | --escrow)
                files=-f
                ;;
        --uki | --kernel | --initrd | --booted | --append | --output) files=-f ;;
        --role) words='os data' ;;
        --kek) words=$(__diskseal_keks "${folders[@]}") ;;
        --policy) words=$(__diskseal_policies "${folders[@]}") ;;
        --phase) words='enter-initrd' ;;
        --bank) words='sha256 sha384' ;;
        -N | --name | --pcrs | --slot | --before | --cmdline | --variable | --pcr | --wipe-signature) ;;
        *)
                if [[ $current == -* ]]; then
                        words="${options[${verb:-none}]-} $globals"
                else
                        case $verb in
                        '') words=${!options[*]} ;;
                        format | adopt) files=-f ;;
                        enroll | unlock | remove)
                                words=$(__diskseal_disks "${folders[@]}")
                                files=-f
                                ;;
                        lock | status) words=$(__diskseal_disks "${folders[@]}") ;;
                        kek) words="list show forget export $(__diskseal_keks "${folders[@]}")" ;;
                        recovery)
                                words="add verify remove $(__diskseal_disks "${folders[@]}")"
                                files=-f
                                ;;
                        escrow)
                                words="add list remove verify $(__diskseal_disks "${folders[@]}")"
                                files=-f
                                ;;
                        header)
                                words="check show approve $(__diskseal_disks "${folders[@]}")"
                                files=-f
                                ;;
                        policy) words='show check sign predict reseal' ;;
                        esac
                fi
                ;;
        esac
        # shellcheck disable=SC2086 # -f, -d or nothing
        mapfile -t COMPREPLY < <(compgen $files -W "$words" -- "$current")
        [[ -z $files ]] || compopt -o filenames 2>/dev/null
}
complete -F _diskseal diskseal
