#!/usr/bin/env bash
# build.sh: builds kscope and its truth tests without a dynamic library, and prints their two paths, kscope's first.
#
# With musl, which rustup brings. Where it cannot be had, with the C library of the machine, linked statically.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

MUSL=x86_64-unknown-linux-musl
GNU=x86_64-unknown-linux-gnu

say() { echo "vm: $*" >&2; }

has_musl() {
    rustup target list --installed | grep -qx "$MUSL" && return
    say "installing the Rust target $MUSL"
    rustup target add "$MUSL" >&2
}

if has_musl; then
    target=$MUSL
else
    say "there is no Rust target $MUSL: building with the C library of this machine, statically"
    target=$GNU
    # For this target alone: the eBPF programs and the build scripts keep their own flags.
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
fi
messages=$(cargo test --target "$target" --test truth --no-run --message-format json-render-diagnostics)
# A Rust binary of a name, from cargo's messages.
built() { sed -n "s|.*\"executable\":\"\([^\"]*/$1\)\".*|\1|p" <<<"$messages" | head -n 1; }
built kscope
built 'truth-[0-9a-f]*'
