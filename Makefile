# The few commands a person needs. Everything real is in the crates; this file builds them and calls them.
#
#   make demo           a bare QEMU node, from PXE to a login           KEEP=1 leaves it running
#   make test           everything CI runs
#   make test-ramdisk   boots of the ramdisk alone
#   make test-image     an image built twice, compared byte for byte
#   make test-slow      every end-to-end scenario, then fuzzing; or make test-slow SCENARIO=mirror
#   make fuzz           parsers under made-up inputs      TIME=3600 TARGET=tar
#   make bench          side by side with other tools: docs/bench.md    ROUNDS=5 ONLY="packed coreos" RESUME=1
#   make release        the programs as they are released: link-time optimised, sizes checked, bill of materials
#   make ramdisk image  what demo and test need, for use elsewhere

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
TRIPLE := x86_64-unknown-linux-gnu
# One target and one profile for all that runs in demo and end-to-end tests: every dependency is compiled once.
PROFILE := demo
BIN := target/$(TRIPLE)/$(PROFILE)
AGENT := $(BIN)/provision
RELEASED := target/$(TRIPLE)/release/provision
BENCH := $(BIN)/bench
# What is compiled for all but the bench, and what it is made of.
PROGRAMS := -p fuel-agent -p testbed -p initramfs -p image-builder -p sbom
SOURCES := Cargo.lock Cargo.toml $(shell git ls-files '*.rs' '*/Cargo.toml' 'initramfs/files/*' ':!bench' 2>/dev/null)
BENCH_SOURCES := $(shell git ls-files 'bench/*' 2>/dev/null)
IMAGE := demo
# Static, for the ramdisk. The flag goes to the builds that name their target and to nothing else: where cargo is given
# no target it would compile procedural macros statically too, which the compiler refuses.
build = CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static" \
  cargo build --locked --target $(TRIPLE) --profile
# Checks what the programs are made of. Compiled without optimisation, which a check of seconds does not pay back.
DENY_VERSION := 0.20.2
DENY := target/tools/cargo-deny-$(DENY_VERSION)/bin/cargo-deny
# The crates of the agent alone, with their licences: a line for each, below the one that needs it.
crates = cargo tree --locked --offline -p fuel-agent --target $(TRIPLE) --prefix depth \
  --format "$$(printf '{p}\t{l}')" -e
# What goes on, and how long it usually takes on a machine with 2 cores.
say = @printf '\n==> %s\n    %s\n' "$(1)" "$(2)"

.PHONY: demo test test-slow test-ramdisk test-image lint dependencies unit end-to-end bench bench-peers agent release \
  both ramdisk image tools fuzz

demo: tools both
	$(call say,a bare node: from power-on to a login,3 minutes where the node is emulated)
	$(SUDO) $(BIN)/testbed demo $(if $(KEEP),--keep)

test: tools lint unit end-to-end
	@./count-tests.sh target/tests/unit.log target/tests/end-to-end.log target/tests/skipped.log

lint: dependencies
	$(call say,formatting and lints,2 minutes the first time)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	cd initramfs/files; shellcheck -s dash -x -P SCRIPTDIR \
	  init functions main network dhcp-hook ssh shell watch-firmware
	shellcheck fuzz/run fuzz/instrument

# Licences, sources and duplicates of the crates: deny.toml. Known vulnerabilities: docs/dependencies.md.
dependencies: $(DENY)
	$(DENY) --locked check bans licenses sources

$(DENY):
	$(call say,compiling cargo-deny,2 minutes; once)
	CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 \
	  cargo install --quiet --locked --no-default-features --version $(DENY_VERSION) \
	  --root target/tools/cargo-deny-$(DENY_VERSION) --target-dir target/tools/build cargo-deny
	rm -rf target/tools/build

unit:
	$(call say,unit tests and tests with files and loop devices,15 minutes the first time; 7 minutes after a change)
	@mkdir -p target/tests; rm -f target/tests/skipped.log
	SKIPPED_TESTS=$(CURDIR)/target/tests/skipped.log cargo test --workspace --locked 2>&1 | tee target/tests/unit.log

end-to-end: both
	$(call say,one installation in QEMU,4 minutes where the node is emulated)
	@mkdir -p target/tests
	$(SUDO) $(BIN)/testbed test 2>&1 | tee target/tests/end-to-end.log

test-slow: tools both
	failed=0; for name in $(or $(SCENARIO),$$($(BIN)/testbed scenarios | cut -d' ' -f1)); do \
	  $(SUDO) $(BIN)/testbed test $$name || failed=1; done; \
	$(if $(SCENARIO),,$(MAKE) --no-print-directory fuzz || failed=1;) exit $$failed

# Seconds for each target. The dependencies are those of `make unit`; the crates here are compiled once more, with
# counters in them. `--workspace`, so that features and with them the compiled dependencies are the same.
TIME := 30
fuzz: tools
	$(call say,fuzzing,5 minutes to compile the first time; then $(TIME) seconds a target)
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/fuzz/instrument cargo build --workspace --locked --features fuzz/fuzzer --bin fuzz
	fuzz/run target/debug/fuzz $(TIME) $(TARGET)

# The ramdisk by itself: real packages, real boots, without an installation.
test-ramdisk: tools
	cargo test --locked -p initramfs --test boot -- --ignored --test-threads 1

# One image built twice from one lock: the same bytes. A folder of its own, and root.
test-image: tools
	cargo test --locked -p image-builder --test reproducible -- --ignored

# The page in docs/ is written only when all rows are measured.
bench: bench-peers $(RELEASED) $(BENCH)
	$(SUDO) $(BENCH) --builder $(BIN)/image-builder $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(RESUME),--resume) \
	  $(if $(ONLY),$(addprefix --only ,$(ONLY)),--docs docs)

# What is compared with: Debian's packages, and what is built once from the other registries.
bench-peers:
	./tools.sh bench
	bench/peers.sh target/bench/peers

# What the commands above need, from Debian packages; nothing is done where all of it is there.
tools:
	@./tools.sh

$(AGENT): $(SOURCES)
	$(call say,compiling the agent and its tools,7 minutes the first time; 1 minute after a change)
	$(build) $(PROFILE) $(PROGRAMS)
	@touch $@

# Named together with the others, so that cargo gives their dependencies the same features and compiles nothing again.
$(BENCH): $(AGENT) $(BENCH_SOURCES)
	$(build) $(PROFILE) $(PROGRAMS) -p bench
	@touch $@

$(RELEASED): $(SOURCES)
	$(call say,compiling the agent as it is released,5 minutes the first time; 2 minutes after a change)
	$(build) release -p fuel-agent
	@touch $@

# The agent alone, where `initramfs build` looks for it.
agent: $(RELEASED)

release: tools $(RELEASED)
	$(build) release -p initramfs -p image-builder -p sbom
	@mkdir -p target/sbom
	$(crates) normal,no-proc-macro > target/sbom/linked
	$(crates) normal,build > target/sbom/all
	target/$(TRIPLE)/release/sbom agent $(RELEASED) --linked target/sbom/linked --all target/sbom/all
	target/$(TRIPLE)/release/sbom check $(RELEASED).cdx.json
	@ls -l $(RELEASED); test $$(stat -c %s $(RELEASED)) -le $$((16 << 20)) || \
	  { echo "the agent is larger than 16 MiB"; exit 1; }

# Ramdisk and image at the same time: each waits for servers and disk for half of its time.
both: $(AGENT)
	@$(MAKE) --no-print-directory -j2 ramdisk image

ramdisk: target/ramdisk/ramdisk.img

target/ramdisk/ramdisk.img: $(AGENT)
	$(call say,the ramdisk of Debian packages,1 minute the first time; 20 seconds after a change)
	$(SUDO) $(BIN)/initramfs build --agent $(AGENT) --out target/ramdisk

image: target/images/$(IMAGE).manifest.json

# The image does not depend on our sources: it is built once and reused until it is removed.
target/images/$(IMAGE).manifest.json: | $(AGENT)
	$(call say,the image of a Debian system,2 minutes; once)
	$(SUDO) $(BIN)/image-builder build debian --name $(IMAGE) --kernel linux-image-cloud-amd64 --out target/images
