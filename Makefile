# The few commands a person needs. Everything real is in the crates; this file builds them and calls them.
#
#   make demo           a bare QEMU node, from PXE to a login           KEEP=1 leaves it running
#   make test           everything CI runs
#   make test-ramdisk   boots of the ramdisk alone
#   make test-slow      every end-to-end scenario; or make test-slow SCENARIO=mirror
#   make bench          side by side with other tools: docs/bench.md    ROUNDS=5 ONLY="packed coreos" RESUME=1
#   make ramdisk image  what demo and test need, for use elsewhere

SHELL := /bin/bash
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
TRIPLE := x86_64-unknown-linux-gnu
AGENT := target/$(TRIPLE)/release/provision
TOOLS := target/debug
SOURCES := Cargo.lock $(shell git ls-files '*.rs' '*/Cargo.toml' 'initramfs/files/*' 'testbed/bench/*' 2>/dev/null)
IMAGE := demo
export CARGO_TERM_PROGRESS_WHEN ?= never

.PHONY: demo test test-slow test-ramdisk lint unit end-to-end bench bench-peers agent ramdisk image tools

demo: tools ramdisk image
	$(SUDO) $(TOOLS)/testbed demo $(if $(KEEP),--keep)

test: tools lint unit end-to-end

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	cd initramfs/files; if command -v shellcheck; then shellcheck -s dash -x -P SCRIPTDIR \
	  init functions main network dhcp-hook ssh shell watch-firmware; fi

unit:
	cargo test --workspace --locked

end-to-end: ramdisk image
	$(SUDO) $(TOOLS)/testbed test

test-slow: tools ramdisk image
	failed=0; for name in $(or $(SCENARIO),$$($(TOOLS)/testbed scenarios | cut -d' ' -f1)); do \
	  $(SUDO) $(TOOLS)/testbed test $$name || failed=1; done; exit $$failed

# The ramdisk by itself: real packages, real boots, without an installation.
test-ramdisk: tools
	cargo test --locked -p initramfs --test boot -- --ignored --test-threads 1

# The page in docs/ is written only when all rows are measured.
bench: bench-peers $(AGENT) $(TOOLS)/testbed
	$(SUDO) $(TOOLS)/testbed bench $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(RESUME),--resume) \
	  $(if $(ONLY),$(addprefix --only ,$(ONLY)),--docs docs)

# What is compared with: Debian's packages, and what is built once from the other registries.
bench-peers:
	./tools.sh bench
	testbed/bench/peers.sh target/bench/peers

# What the commands above need, from Debian packages; nothing is done where all of it is there.
tools:
	./tools.sh

agent: $(AGENT)

# Static, for the ramdisk; the target is named, or procedural macros would be built that way too.
$(AGENT): $(SOURCES)
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static" \
	  cargo build --release --locked --target $(TRIPLE) -p fuel-agent
	touch $@

# What runs on this machine only; its dependencies are optimised in this profile too.
$(TOOLS)/testbed: $(SOURCES)
	cargo build --locked -p testbed -p initramfs -p image-builder
	touch $@

ramdisk: target/ramdisk/ramdisk.img

target/ramdisk/ramdisk.img: $(AGENT) $(TOOLS)/testbed
	$(SUDO) $(TOOLS)/initramfs build --agent $(AGENT) --out target/ramdisk

image: target/images/$(IMAGE).manifest.json

# The image does not depend on our sources: it is built once and reused until it is removed.
target/images/$(IMAGE).manifest.json: | $(TOOLS)/testbed
	$(SUDO) $(TOOLS)/image-builder build debian --name $(IMAGE) --kernel linux-image-cloud-amd64 --out target/images
