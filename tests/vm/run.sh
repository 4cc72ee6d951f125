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
    for kernel in "${kernels[@]}"; do say "kernel $kernel SKIPPED: $1"; done
    exit 0
}
# Says how long a step took.
timed() {
    local what=$1 before=$SECONDS
    shift
    "$@" || return
    say "$what took $((SECONDS - before)) s"
}

out=${CARGO_TARGET_DIR:-target}/vm
export VM_CACHE=${VM_CACHE:-$out/kernels}
mkdir -p "$out"

tests/vm/qemu.sh || skip "QEMU is not installed and cannot be"
status=0
timed "fetching kernels" tests/vm/kernels.sh "${kernels[@]}" || status=$?
case $status in
    0) ;;
    3) skip "Debian's kernels cannot be fetched" ;;
    *) exit "$status" ;;
esac
timed "the static build" tests/vm/build.sh >"$out/built"
{ read -r kscope && read -r truth; } <"$out/built"
tests/vm/initramfs.sh "$out/initramfs" "$VM_CACHE/busybox" "$kscope" "$truth"

if [ -z "${VM_ACCEL:-}" ]; then
    export VM_ACCEL=tcg
    tests/vm/kvm.sh "$VM_CACHE/${kernels[0]}/vmlinuz" "$out/initramfs" "$out/kvm" && VM_ACCEL=kvm
fi
say "guests run with $VM_ACCEL"

failed=0
for kernel in "${kernels[@]}"; do
    before=$SECONDS
    rm -f "$out/$kernel.fault"
    tests/vm/boot.sh "$VM_CACHE/$kernel/vmlinuz" "$out/initramfs" "$out/$kernel" "$groups" >"$out/$kernel.fault" || failed=1
    say "kernel $kernel took $((SECONDS - before)) s"
done
if [ -n "$host" ]; then
    tests/vm/host.sh "$kscope" "$truth" "$groups" >"$out/host.results"
    kernels+=(host)
fi
tests/vm/table.sh "$out" "${kernels[@]}" || failed=1
if [ -n "$write" ]; then
    tests/vm/document.sh "$out" "${kernels[@]}" >docs/kernels.md
    say "wrote docs/kernels.md"
fi
exit "$failed"
