if command -v update-locale >/dev/null; then
    if ! locale -a 2>/dev/null | grep -qi '^en_US\.utf-\?8$' && command -v locale-gen >/dev/null && [ -e /etc/locale.gen ]; then
        sed -i -e 's/^# *\(en_US\.UTF-8 \)/\1/' /etc/locale.gen
        locale-gen >/dev/null 2>&1
    fi
    locale -a 2>/dev/null | grep -qi '^en_US\.utf-\?8$' && update-locale LANG=en_US.UTF-8
fi
:
