
# upstart knows nothing of serial consoles; systemd starts a login on each by itself
if [ -d /etc/init ] && command -v initctl >/dev/null && [ ! -d /run/systemd/system ]; then
    for port in ttyS0 ttyS1; do
        {
            echo 'start on stopped rc RUNLEVEL=[12345]'
            echo 'stop on runlevel [!12345]'
            echo 'respawn'
            echo "exec /sbin/getty -L 115200 $port vt102"
        } > "/etc/init/$port.conf"
    done
fi
