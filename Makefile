# `make run` starts the dashboard, `make test` checks everything. Each first installs what is missing.

CARGO_HOME ?= $(HOME)/.cargo
export PATH := $(CARGO_HOME)/bin:$(PATH)

# Built as whoever calls, run as root: reading the kernel needs it. sudo would drop what the colours depend on.
ifneq ($(shell id -u),0)
SUDO := sudo
AS_ROOT := --config "target.'cfg(all())'.runner=['sudo','--preserve-env=TERM,COLORTERM,NO_COLOR']"
endif

.PHONY: run test bench bench-scale check-aarch64 fixtures screenshots fuzz deny audit miri soak vm-test
.NOTPARALLEL:

# ARGS are kscope's: make run ARGS="--pid 1 --view syscalls"
run:
	@scripts/setup.sh run
	cargo run --release $(AS_ROOT) -- $(ARGS)

test:
	@scripts/setup.sh test
	cargo fmt --all --check
	cargo clippy --all-targets -- -D warnings
	@scripts/closing cargo test

# The truth tests on Debian's kernels in QEMU, without root: make vm-test ARGS="5.10 7.3"; ARGS=--write keeps the table
vm-test:
	@scripts/setup.sh build
	@tests/vm/run.sh $(ARGS)

# What kscope costs, beside empty programs and the peers that are installed: make bench ARGS=--quick; ARGS=--write keeps it
bench:
	@scripts/setup.sh run
	cargo bench --features bench --bench cost $(AS_ROOT) -- $(ARGS)

# How user space grows with the machine, on simulated ones, without root: make bench-scale ARGS=--quick
bench-scale:
	@scripts/setup.sh build
	cargo bench --bench scale -- $(ARGS)

# Checks that it builds for ARM: programs for that architecture, the library and the binary. Nothing of it can be run here.
check-aarch64:
	@scripts/setup.sh build
	rustup target add aarch64-unknown-linux-gnu
	cargo check --lib --bins --target aarch64-unknown-linux-gnu

# The facts that the rules of verdicts are tested on, captured from the real situations. Best on a machine at rest.
fixtures:
	@scripts/setup.sh test
	KSCOPE_FIXTURES=$(CURDIR)/tests/fixtures/verdicts cargo test --test truth $(AS_ROOT) -- verdicts

# The pictures of the README, from the real program (scripts/screenshot).
screenshots:
	@scripts/setup.sh test
	cargo build --release
	$(SUDO) scripts/screenshot --kscope "$${CARGO_TARGET_DIR:-target}/release/kscope"

# Fuzzes the readers of bytes from outside, each for 20 s: make fuzz ARGS="btf 60" = one of them, and seconds
fuzz:
	@scripts/setup.sh fuzz
	scripts/fuzz $(ARGS)

# What kscope is built of: licences, sources, versions, and what is known against them: make deny ARGS="licenses bans sources"
deny:
	@scripts/setup.sh deny
	cargo deny --workspace check $(ARGS)

# What the RustSec database knows against the versions in Cargo.lock
audit:
	@scripts/setup.sh audit
	cargo audit $(ARGS)

# The unsafe code that Miri can run: that which makes no system call of its own (docs/unsafe.md)
miri:
	@scripts/setup.sh miri
	scripts/miri

# The dashboard for 20 minutes under stress-ng, looked at each minute: make soak ARGS="--for 2m"; ARGS=--write keeps it
soak:
	@scripts/setup.sh soak
	cargo bench --bench soak $(AS_ROOT) -- $(ARGS)
