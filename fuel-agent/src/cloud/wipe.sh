# Overwrites the cloud-init data that this system was made with, once cloud-init has used all of it without an error.
# What cloud-init has configured stays; it is disabled, since without its data it would take this for a new machine.
set -e
device=/dev/disk/by-uuid/$uuid
if [ ! -e /etc/cloud/cloud-init.disabled ]; then
    grep -q '"errors": \[\]' /run/cloud-init/result.json
    [ -b "$device" ]
    [ "$(blkid -p -s LABEL -o value "$device")" = CIDATA ]
    : > /etc/cloud/cloud-init.disabled
fi
if [ -b "$device" ]; then
    # the beginning last: it is what the rest is found by
    blocks=$(($(blockdev --getsize64 "$device") / 1048576))
    dd if=/dev/zero of="$device" bs=1M seek=1 count=$((blocks - 1)) conv=notrunc,fsync 2>/dev/null
    dd if=/dev/zero of="$device" bs=1M count=1 conv=notrunc,fsync 2>/dev/null
fi
for file in user-data.txt user-data.txt.i cloud-config.txt obj.pkl scripts/runcmd; do
    rm -f "/var/lib/cloud/instance/$file"
done
systemctl disable provision-wipe-configdrive.service
rm -f /etc/systemd/system/provision-wipe-configdrive.service "$0"
