# Nothing here may stop the boot: each part looks first whether what it is about is there.

# where the time is told
if [ -n "$timezone" ] && [ -e "/usr/share/zoneinfo/$timezone" ]; then
    ln -sf "/usr/share/zoneinfo/$timezone" /etc/localtime
    echo "$timezone" > /etc/timezone
fi

# names are looked up at the orchestrator, unless something on this system owns the file
if [ ! -L /etc/resolv.conf ] && ! command -v resolvconf >/dev/null; then
    {
        if [ -n "$search" ]; then
            echo "search $search"
            echo "domain ${search%% *}"
        fi
        for server in $name_servers; do
            echo "nameserver $server"
        done
    } > /etc/resolv.conf
    if [ -d /etc/dhcp/dhclient-enter-hooks.d ]; then
        echo 'make_resolv_conf() { :; }' > /etc/dhcp/dhclient-enter-hooks.d/provision
    fi
fi

# VirtualBox has no such controller, and the driver complains at every boot
if grep -qs VirtualBox /sys/class/dmi/id/product_name && [ -d /etc/modprobe.d ]; then
    echo 'blacklist i2c_piix4' > /etc/modprobe.d/provision-virtualbox.conf
fi

# room for many connections; a kernel that panics comes back after a minute
mkdir -p /etc/modules-load.d /etc/sysctl.d
echo nf_conntrack > /etc/modules-load.d/provision.conf
{
    echo 'net.netfilter.nf_conntrack_max = 1048576'
    echo 'kernel.panic = 60'
} > /etc/sysctl.d/80-provision.conf
modprobe nf_conntrack 2>/dev/null
if command -v sysctl >/dev/null; then
    sysctl -e -q -p /etc/sysctl.d/80-provision.conf 2>/dev/null
fi

# the clock follows the orchestrator's, by the time service that is installed
if [ -d /etc/systemd ] && { [ -e /lib/systemd/systemd-timesyncd ] || [ -e /usr/lib/systemd/systemd-timesyncd ]; }; then
    mkdir -p /etc/systemd/timesyncd.conf.d
    printf '[Time]\nNTP=%s\n' "$master" > /etc/systemd/timesyncd.conf.d/provision.conf
fi
if [ -d /etc/chrony/sources.d ]; then
    echo "server $master iburst" > /etc/chrony/sources.d/provision.sources
else
    for file in /etc/chrony/chrony.conf /etc/chrony.conf; do
        if [ -e "$file" ] && ! grep -q "^server $master " "$file"; then
            sed -i -e 's/^\(server\|pool\) /# &/' "$file"
            printf 'server %s iburst\nmakestep 1 3\n' "$master" >> "$file"
        fi
    done
fi
if [ -e /etc/ntp.conf ] && ! grep -q "^server $master " /etc/ntp.conf; then
    sed -i -e 's/^\(server\|pool\) /# &/' /etc/ntp.conf
    printf 'tinker panic 0\nserver %s burst iburst\n' "$master" >> /etc/ntp.conf
fi
if command -v ntpdate >/dev/null; then
    timeout 15 ntpdate -u "$master" >/dev/null 2>&1 && hwclock --systohc 2>/dev/null
fi

# logging in does not wait for a name server
if [ -d /etc/ssh/sshd_config.d ] && grep -qs '^Include /etc/ssh/sshd_config.d' /etc/ssh/sshd_config; then
    printf 'UseDNS no\nGSSAPIAuthentication no\n' > /etc/ssh/sshd_config.d/10-provision.conf
elif [ -e /etc/ssh/sshd_config ]; then
    sed -i -e '/^[#[:space:]]*\(UseDNS\|GSSAPIAuthentication\)[[:space:]]/d' /etc/ssh/sshd_config
    # in front: behind a `Match` it would be part of that
    sed -i -e '1i UseDNS no\nGSSAPIAuthentication no' /etc/ssh/sshd_config
fi

# root's shell is like everybody's
for file in .profile .bash_logout .bashrc; do
    if [ -e "/etc/skel/$file" ] && [ ! -e "/root/$file" ]; then
        cp "/etc/skel/$file" "/root/$file"
    fi
done

# puppet asks for these even when they say nothing
if [ -d /etc/puppet ]; then
    [ -e /etc/puppet/hiera.yaml ] || echo '---' > /etc/puppet/hiera.yaml
    [ -e /etc/hiera.yaml ] || ln -s puppet/hiera.yaml /etc/hiera.yaml
fi

# Fuel's agent reports what the node has, once the lock that the installation left is gone
agent=
for file in /usr/bin/nailgun-agent /opt/nailgun/bin/agent; do
    [ -x "$file" ] && agent=$file
done
if [ -n "$agent" ]; then
    {
        echo '#!/bin/sh'
        echo 'rm -f /etc/nailgun-agent/nodiscover'
        echo "flock -w 0 -o /var/lock/nailgun-agent.lock $agent >> /var/log/nailgun-agent.log 2>&1 &"
        echo 'exit 0'
    } > /etc/rc.local
    chmod 755 /etc/rc.local
else
    rm -f /etc/nailgun-agent/nodiscover
fi
