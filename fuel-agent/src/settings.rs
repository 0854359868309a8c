//! Settings from command line, request, kernel command line and /etc/provision.conf, strongest first.
