
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
