# `make run` starts the dashboard, `make test` checks everything. Each first installs what is missing.

CARGO_HOME ?= $(HOME)/.cargo
export PATH := $(CARGO_HOME)/bin:$(PATH)

# Built as whoever calls, run as root: reading the kernel needs it. sudo would drop what the colours depend on.
ifneq ($(shell id -u),0)
SUDO := sudo
AS_ROOT := --config "target.'cfg(all())'.runner=['sudo','--preserve-env=TERM,COLORTERM,NO_COLOR']"
endif

.PHONY: run test bench bench-scale fixtures screenshots vm-test
.NOTPARALLEL:

# ARGS are kscope's: make run ARGS="--pid 1 --view syscalls"
run:
	@scripts/setup.sh run
	cargo run --release $(AS_ROOT) -- $(ARGS)

test:
	@scripts/setup.sh test
	cargo fmt --all --check
	cargo clippy --all-targets -- -D warnings
	cargo test

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

# The facts that the rules of verdicts are tested on, captured from the real situations. Best on a machine at rest.
fixtures:
	@scripts/setup.sh test
	KSCOPE_FIXTURES=$(CURDIR)/tests/fixtures/verdicts cargo test --test truth $(AS_ROOT) -- verdicts

# The pictures of the README, from the real program (scripts/screenshot).
screenshots:
	@scripts/setup.sh test
	cargo build --release
	$(SUDO) scripts/screenshot --kscope "$${CARGO_TARGET_DIR:-target}/release/kscope"
