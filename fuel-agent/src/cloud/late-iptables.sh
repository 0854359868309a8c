if command -v iptables >/dev/null; then
    iptables -t filter -F INPUT
    iptables -t filter -F FORWARD
fi
