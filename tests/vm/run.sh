#!/usr/bin/env bash
# run.sh [--core] [--only GROUP,GROUP…] [--host] [--write] [KERNEL…]: the truth tests on Debian's kernels (5.10, 6.1, 6.12, 7.3;
# default: all), each in a guest of its own, and a table of kernels and trials. `make vm-test ARGS=…` calls it.
#
# --core runs the trials of the three core insights only, --only those of the named groups. --host runs them on this machine's
# kernel, too, as root and without a guest. --write also renews docs/kernels.md. Exit status 1: a trial or a guest failed. What
# cannot be run on this machine is said, and counts as skipped.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

groups="" host="" write="" kernels=()
while [ $# -gt 0 ]; do
    case $1 in
        --core) groups=syscalls,runqueue,network ;;
        --only) groups=${2:?--only needs groups}; shift ;;
        --host) host=1 ;;
        --write) write=1 ;;
        -*) sed -n '2,7s/^# //p' "$0" >&2; exit 2 ;;
        *) kernels+=("$1") ;;
    esac
    shift
done
[ ${#kernels[@]} -gt 0 ] || kernels=(5.10 6.1 6.12 7.3)

say() { echo "vm: $*" >&2; }
skip() {
    local reason=$1
    shift
    for kernel in "$@"; do echo "kernel $kernel: SKIPPED, $reason"; done
}
# Says how long a step took.
timed() {
    local what=$1 before=$SECONDS
    shift
    "$@" || return
    say "$what took $((SECONDS - before)) s"
}

out=${CARGO_TARGET_DIR:-target}/vm
mkdir -p "$out"
# What is called from here works in other directories.
out=$(cd "$out" && pwd)
export VM_CACHE=${VM_CACHE:-$out/kernels}

if [ "$(uname -m)" != x86_64 ]; then
    skip "the guests are x86-64, and this machine is not" "${kernels[@]}"
    exit
fi
if ! tests/vm/qemu.sh; then
    skip "QEMU is not installed and cannot be" "${kernels[@]}"
    exit
fi
fetched=() missing=()
for kernel in "${kernels[@]}"; do
    status=0
    timed "fetching kernel $kernel" tests/vm/kernels.sh "$kernel" || status=$?
    case $status in
        0) fetched+=("$kernel") ;;
        3) missing+=("$kernel") ;;
        *) exit "$status" ;;
    esac
done
kernels=("${fetched[@]}")
if [ ${#kernels[@]} -eq 0 ]; then
    skip "it cannot be fetched" "${missing[@]}"
    exit
fi
timed "the static build" tests/vm/build.sh >"$out/built"
{ read -r kscope && read -r truth; } <"$out/built"
tests/vm/initramfs.sh "$out/initramfs" "$VM_CACHE/busybox" "$kscope" "$truth"

if [ -z "${VM_ACCEL:-}" ]; then
    export VM_ACCEL=tcg
    tests/vm/kvm.sh "$VM_CACHE/${kernels[0]}/vmlinuz" "$out/initramfs" "$out/kvm" && VM_ACCEL=kvm
fi
say "guests run with $VM_ACCEL"
# All trials take a quarter of an hour where a guest is emulated.
export VM_SECONDS=${VM_SECONDS:-$([ -n "$groups" ] && echo 600 || echo 2400)}

# Runs a guest to its end. Its faults are in a file, so that the table has them.
guest() {
    local kernel=$1 before=$SECONDS
    tests/vm/boot.sh "$VM_CACHE/$kernel/vmlinuz" "$out/initramfs" "$out/$kernel" "$groups" >"$out/$kernel.fault" || true
    say "kernel $kernel took $((SECONDS - before)) s"
}
# One after the other: each has two CPUs, and what it does not get of this machine's shows in its run queues.
for kernel in "${kernels[@]}"; do guest "$kernel"; done

failed=0
if [ -n "$host" ]; then
    tests/vm/host.sh "$kscope" "$truth" "$groups" >"$out/host.results"
    kernels+=(host)
fi
tests/vm/table.sh "$out" "${kernels[@]}" || failed=1
skip "it cannot be fetched" "${missing[@]}"
if [ -n "$write" ]; then
    tests/vm/document.sh "$out" "${kernels[@]}" >docs/kernels.md
    say "wrote docs/kernels.md"
fi
exit "$failed"
