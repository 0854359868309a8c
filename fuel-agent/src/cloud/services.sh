service_on() {
    if [ -d /run/systemd/system ]; then
        systemctl cat "$1.service" >/dev/null 2>&1 && systemctl enable "$1" && systemctl restart "$1"
    elif command -v initctl >/dev/null && [ -e "/etc/init/$1.conf" ]; then
        rm -f "/etc/init/$1.override"
        service "$1" restart
    elif [ -x "/etc/init.d/$1" ]; then
        if command -v chkconfig >/dev/null; then chkconfig "$1" on; else update-rc.d "$1" enable; fi
        service "$1" restart
    fi
}
service_off() {
    if [ -d /run/systemd/system ]; then
        systemctl cat "$1.service" >/dev/null 2>&1 && systemctl disable --now "$1"
    elif command -v initctl >/dev/null && [ -e "/etc/init/$1.conf" ]; then
        echo manual > "/etc/init/$1.override"
        service "$1" stop
    elif [ -x "/etc/init.d/$1" ]; then
        if command -v chkconfig >/dev/null; then chkconfig "$1" off; else update-rc.d "$1" disable; fi
        service "$1" stop
    fi
}
