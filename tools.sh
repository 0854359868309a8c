#!/bin/bash
# Installs the Debian packages that `make` needs and that are missing; with `bench` also those of `make bench`. Debian
# 12, as root or with sudo.
set -euo pipefail

packages=(
  gcc libc6-dev make git ca-certificates                        # to build
  e2fsprogs xfsprogs gdisk fdisk mdadm lvm2 dosfstools mtools kmod util-linux   # tests with the real tools
  cpio zstd mmdebstrap minisign                  # ramdisk and image
  qemu-utils xz-utils bzip2                                     # images of others in tests
  grub-common grub-pc-bin                                       # boot code in tests
  qemu-system-x86 ipxe-qemu seabios ipxe ovmf                   # VMs
  grub-efi-amd64-bin                                            # UEFI boot code in tests
  dnsmasq-base nginx-light iproute2 openssh-client              # their network
  procps python3-yaml                                           # kill, and what cloud-init reads YAML with, in tests
  shellcheck                                                    # lints of the ramdisk's scripts
  sudo                                                          # visudo, in tests
  g++                                                           # the fuzzer
)
[ "${1:-}" != bench ] || packages+=(
  bmap-tools qemu-utils pigz aria2 curl                         # peers
  python3-venv parted                                           # ironic-python-agent, fuel-agent
  pkg-config libssl-dev liblzma-dev libzstd-dev                 # to build coreos-installer, bmap-rs
)

have_rust() {
  command -v cargo >/dev/null && [ "$(printf '%s\n' 1.95.0 "$(cargo --version | cut -d' ' -f2)" | sort -V | head -n1)" = 1.95.0 ]
}

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
have_rust || missing+=(cargo-web rustc-web rust-web-clippy rustfmt-web)
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=()
[ "$(id -u)" -eq 0 ] || sudo=(sudo)
echo "installing: ${missing[*]}"
"${sudo[@]}" apt-get update -q
# A qemu-utils of another suite beside Debian's QEMU makes apt refuse both: take both from the same one.
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
if dpkg-query -W qemu-utils >/dev/null 2>&1 && printf '%s\n' "${missing[@]}" | grep -qx qemu-system-x86; then
  missing+=("qemu-utils/$release" "qemu-system-common/$release")
fi
# nginx and mdadm bring services. We want the programs: nothing of theirs is started, now or at the next boot.
guard=/usr/sbin/policy-rc.d
if [ ! -e "$guard" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$guard" >/dev/null
  "${sudo[@]}" chmod 0755 "$guard"
  trap '"${sudo[@]}" rm -f "$guard"' EXIT
fi
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends --allow-downgrades "${missing[@]}"
if printf '%s\n' "${missing[@]}" | grep -qx nginx-light && [ -d /run/systemd/system ]; then
  "${sudo[@]}" systemctl disable -q nginx
fi
