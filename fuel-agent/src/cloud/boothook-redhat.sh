
# what is deployed on these nodes brings no policy of its own
if [ -e /etc/selinux/config ]; then
    sed -i -e 's/^SELINUX=.*/SELINUX=disabled/' /etc/selinux/config
    command -v setenforce >/dev/null && setenforce 0 2>/dev/null
    rm -f /.autorelabel
fi

# a service that crashes leaves something to look at
mkdir -p /var/log/coredump /etc/security/limits.d
{
    echo 'kernel.core_pattern = /var/log/coredump/core.%e.%p.%h.%t'
    echo 'fs.suid_dumpable = 2'
} > /etc/sysctl.d/81-provision-core.conf
printf '* soft core unlimited\n* hard core unlimited\n' > /etc/security/limits.d/provision-core.conf
if command -v sysctl >/dev/null; then
    sysctl -e -q -p /etc/sysctl.d/81-provision-core.conf 2>/dev/null
fi

# before systemd
if command -v chkconfig >/dev/null && [ ! -d /run/systemd/system ] && [ -e /etc/init.d/ntpd ]; then
    chkconfig ntpd on
fi
