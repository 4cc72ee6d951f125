#!/usr/bin/env bash
# boot.sh VMLINUZ INITRAMFS OUT [GROUP,GROUP…]: boots a guest and waits until it is off. OUT.log has what its kernel said,
# OUT.results what the trials said. Exit status 1: it did not come to its end, or its kernel had a fault.
#
# VM_ACCEL is kvm or tcg; VM_SECONDS bounds the guest's life.
set -euo pipefail
vmlinuz=$1 initramfs=$2 out=$3 groups=${4:-}

# Messages are kept for whoever reads a log. Without the word on the TSC the guest would ask a slow clock by a system call,
# which no trial expects; both CPUs of a guest have one clock, so it can be relied on. On a busy machine an emulated timer may be
# late when the kernel looks whether it works: it need not look. A fault ends the guest at once.
options="console=ttyS0 loglevel=5 panic=-1 oops=panic tsc=reliable clocksource=tsc no_timer_check"
case ${VM_ACCEL:=tcg} in
    # Debian's 6.12 faults on the double-width compare-and-swap that TCG offers. Both CPUs in one thread: with one each, code
    # that the kernel changes while the other CPU runs it, as attaching does, is now and then run as it was before ("int3"
    # in 7.3, a CPU that stands still in 5.10). Time by instructions (-icount) would hide what else this machine does from
    # the guest, but 7.3 is then not ready to measure within minutes.
    tcg) machine=(-accel tcg,thread=single -cpu max,-cx16) ;;
    kvm) machine=(-accel kvm -cpu host) ;;
esac
status=0
for _ in 1 2 3; do
    rm -f "$out.log" "$out.results"
    status=0
    timeout --kill-after 5 "${VM_SECONDS:-900}" qemu-system-x86_64 \
        "${machine[@]}" -smp 2 -m 2G -display none -monitor none -nodefaults -no-reboot -nic none \
        -serial "file:$out.log" -serial "file:$out.results" \
        -kernel "$vmlinuz" -initrd "$initramfs" -append "$options ${groups:+kscope.trials=$groups}" \
        >"$out.qemu" 2>&1 </dev/null || status=$?
    # The last line: the guest found that its clock is wrong, and went off. It may have more luck.
    [ "$(tail -n 1 "$out.results" 2>/dev/null | cut -c 1-6)" = @clock ] || break
done
if [ "$(tail -n 1 "$out.results" 2>/dev/null | cut -c 1-6)" = @clock ]; then
    echo "the guest's clock was wrong three times: this machine is too busy to emulate one"
    exit 1
fi
# The times before them tell the kernel's own words from those of programs.
fault='^\[ *[0-9.]+\] .*(Kernel panic|BUG:|Oops|general protection fault|WARNING:|nable to handle|soft lockup|rcu.*stall)'
if grep -qE "$fault" "$out.log" 2>/dev/null; then
    echo "the guest's kernel: $(grep -m 1 -E "$fault" "$out.log" | tr -d '\r')"
    exit 1
fi
if ! grep -q '^@end' "$out.results" 2>/dev/null; then
    case $status in
        124 | 137) echo "the guest was not done after ${VM_SECONDS:-900} s" ;;
        *) echo "the guest ended early: QEMU's exit status $status $(head -n 1 "$out.qemu")" ;;
    esac
    exit 1
fi
