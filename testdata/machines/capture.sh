#!/bin/sh
# Writes the machine it runs on in the form that fuel-agent/tests/support/machine.rs reads, to standard output:
#   sh capture.sh > NAME.machine
# Look it over before it is committed: serial numbers, addresses and the kernel command line are in it as they are.
set -eu

# The text of a file on one line, with what is not plain as \xHH.
text() {
    od -An -v -tx1 "$1" 2>/dev/null | tr -s ' \n' '\n' | while read -r byte; do
        case $byte in
        '') ;;
        0a) printf '\\n' ;;
        5c) printf '\\\\' ;;
        [2-6]? | 7[0-9a-e]) printf "\\$(printf %o "0x$byte")" ;;
        *) printf '\\x%s' "$byte" ;;
        esac
    done | sed 's/\\n$//'
}
file() { if [ -r "$1" ]; then printf '%s = %s\n' "${1#/}" "$(text "$1")"; fi; }
link() { if [ -L "$1" ]; then printf '%s -> %s\n' "${1#/}" "$(readlink "$1")"; fi; }
say() {
    status=0
    said=$("$@" 2>/dev/null) || status=$?
    printf '\n$ %s %s\n' "$status" "$*"
    [ -z "$said" ] || printf '%s\n' "$said" | sed 's/^/| /'
}

for entry in /sys/class/block/*; do
    printf '\n# %s\n' "${entry##*/}"
    link "$entry"
    folder=$(readlink -f "$entry")
    for name in dev size ro removable uevent partition start hidden serial wwid \
        queue/logical_block_size queue/physical_block_size queue/rotational \
        device/model device/vendor device/type device/serial device/wwid device/vpd_pg80 \
        md/metadata_version md/array_state md/level dm/name dm/uuid; do
        file "$folder/$name"
    done
    for other in "$folder"/holders/* "$folder"/slaves/*; do
        link "$other"
    done
    file "/run/udev/data/b$(cat "$folder/dev")"
done
printf '\n# links\n'
for other in /dev/disk/*/* /dev/mapper/* /dev/md/* /sys/fs/btrfs/*/devices/*; do
    link "$other"
done
printf '\n# the machine\n'
for name in /proc/self/mountinfo /proc/swaps /proc/cmdline /proc/meminfo /sys/firmware/efi/fw_platform_size; do
    file "$name"
done
for net in /sys/class/net/*; do
    file "$net/address"
    link "$net/device"
done
for entry in /sys/class/block/*; do
    case ${entry##*/} in loop* | ram* | zram* | sr* | fd*) continue ;; esac
    device=$(sed -n 's/^DEVNAME=//p' "$entry/uevent")
    if [ -r "$entry/dm/name" ]; then device=mapper/$(cat "$entry/dm/name"); fi
    say blkid -p -o export "/dev/$device"
    if blkid -p -o export "/dev/$device" | grep -q '^TYPE=.*_raid_member$'; then
        say mdadm --examine --export "/dev/$device"
    fi
done
# Only what the tests' answers are looked up by has to stand in the first line of a question.
say lvm pvs --readonly --reportformat json -o pv_name,vg_name,vg_uuid
