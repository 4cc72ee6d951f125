#!/bin/sh
# Installs what building kscope needs and is not there: the pinned toolchain with its components, and bpf-linker.
# `setup.sh run` and `setup.sh test` see to what those need on top; fuzz, deny, audit, miri and soak to the tools of these targets.
# Says what it does; silent when all is there. Touches rustup's and cargo's directories only, but for the distribution's packages that
# trials run or compare with (`test`) and stress-ng (`soak`), and those only as root.
set -eu
cd "$(dirname "$0")/.."

BPF_LINKER=0.10.3
CARGO_FUZZ=0.13.2
CARGO_DENY=0.20.2
CARGO_AUDIT=0.22.2
CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}
PATH=$CARGO_HOME/bin:$PATH
export PATH

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# What a key of rust-toolchain.toml holds, without quotes, brackets and commas.
pinned() { sed -n "s/^$1 *= *//p" rust-toolchain.toml | tr -d '[]",'; }

toolchain() {
    channel=$(pinned channel)
    if ! rustup toolchain list | grep -q "^$channel-"; then
        say "installing Rust $channel, which rust-toolchain.toml asks for"
        rustup toolchain install "$channel" --profile minimal --no-self-update
    fi
    installed=$(rustup component list --installed --toolchain "$channel")
    for component in $(pinned components); do
        # rust-src has no target in its name, the others have.
        if ! echo "$installed" | grep -q -e "^$component\$" -e "^$component-"; then
            say "installing the Rust component $component"
            rustup component add "$component" --toolchain "$channel"
        fi
    done
}

bpf_linker() {
    # One that does not start (its LLVM is that of the toolchain that built it) has no version either.
    found=$(bpf-linker --version 2>/dev/null || true)
    if [ "$found" != "bpf-linker $BPF_LINKER" ]; then
        say "building bpf-linker $BPF_LINKER, which links the eBPF programs (${found:-not there yet}); it takes minutes, once"
        cargo install --locked bpf-linker --version "$BPF_LINKER" --root "$CARGO_HOME" --force
    fi
}

# What the trials run or compare with: a program, and Debian's package of it.
TRIALS="tmux:tmux fio:fio strace:strace perf:linux-perf bpftrace:bpftrace bpftool:bpftool ss:iproute2 setcap:libcap2-bin
    losetup:mount unshare:util-linux setpriv:util-linux bash:bash kill:procps"

# The packages of those that are not there; nothing if all are. Some are root's, and not in everybody's PATH.
absent() (
    PATH=$PATH:/usr/sbin:/sbin
    for one in $TRIALS; do has "${one%%:*}" || echo "${one#*:}"; done | sort -u | tr '\n' ' '
)

tools_for_tests() {
    packages=$(absent)
    [ -n "$packages" ] || return 0
    if has apt-get && [ "$(id -u)" -eq 0 ]; then
        say "installing what trials run or compare with: $packages"
        export DEBIAN_FRONTEND=noninteractive
        # shellcheck disable=SC2086 # a list of names
        apt-get install -y -q --no-install-recommends $packages || {
            apt-get update -q || true
            # One by one: another distribution may not have them all.
            for package in $packages; do apt-get install -y -q --no-install-recommends "$package" || true; done
        }
        packages=$(absent)
        [ -n "$packages" ] || return 0
    fi
    say "not installed: $packages(packages of Debian); trials that need them are left out, and the last line says which"
}

# A tool of cargo's, built once: its name, its version, what it is for.
cargo_tool() {
    found=$("$1" --version 2>/dev/null || "cargo" "${1#cargo-}" --version 2>/dev/null || true)
    case $found in *"$2"*) return ;; esac
    say "building $1 $2, $3; it takes minutes, once"
    cargo install --locked "$1" --version "$2" --root "$CARGO_HOME" --force
}

miri() {
    rustup toolchain list | grep -q '^nightly-' || {
        say "installing Rust nightly, which Miri needs"
        rustup toolchain install nightly --profile minimal --no-self-update
    }
    rustup component list --installed --toolchain nightly | grep -q '^miri-' && return
    say "installing Miri"
    rustup component add miri rust-src --toolchain nightly
}

stress_ng() {
    has stress-ng && return
    has apt-get && [ "$(id -u)" -eq 0 ] || fail "stress-ng is not installed: install it (on Debian: apt install stress-ng), then run this again"
    say "installing stress-ng, which is the load of the soak"
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y -q stress-ng || { apt-get update -q && apt-get install -y -q stress-ng; }
}

has rustup || fail "rustup is not installed: get it from https://rustup.rs, then run this again"
has cc || fail "there is no C compiler: install gcc or clang (on Debian: apt install gcc libc6-dev), then run this again"
if [ "${1:-}" = run ] && [ "$(id -u)" -ne 0 ]; then
    has sudo || fail "kscope reads the kernel as root, and there is no sudo: run this as root"
fi
toolchain
case ${1:-} in
    fuzz) cargo_tool cargo-fuzz "$CARGO_FUZZ" "which runs the fuzz targets"; exit ;;
    deny) cargo_tool cargo-deny "$CARGO_DENY" "which checks what kscope is built of"; exit ;;
    audit) cargo_tool cargo-audit "$CARGO_AUDIT" "which knows what was found in crates"; exit ;;
    miri) miri; exit ;;
esac
bpf_linker
case ${1:-} in
    test) tools_for_tests ;;
    soak) stress_ng ;;
esac
