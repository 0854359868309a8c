if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # It waits for the end of cloud-init, which runs this. After a failure the next boot tries again.
    systemctl enable provision-wipe-configdrive.service
    systemctl start --no-block provision-wipe-configdrive.service
fi
