
# before systemd
if command -v chkconfig >/dev/null && [ ! -d /run/systemd/system ] && [ -e /etc/init.d/ntpd ]; then
    chkconfig ntpd on
fi
