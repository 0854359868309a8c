if [ -d /run/systemd/system ]; then
    for name in rsyslog systemd-timesyncd chrony chronyd ntp ntpd; do
        systemctl try-restart "$name.service" 2>/dev/null
    done
fi
