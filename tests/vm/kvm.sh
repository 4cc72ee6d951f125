#!/usr/bin/env bash
# kvm.sh VMLINUZ INITRAMFS OUT: whether a guest really comes to its end with KVM here. That the device opens says little: in a
# virtual machine QEMU may still die on it.
set -euo pipefail

[ -w /dev/kvm ] || exit 1
VM_ACCEL=kvm VM_SECONDS=30 "$(dirname "${BASH_SOURCE[0]}")/boot.sh" "$1" "$2" "$3" none >/dev/null 2>&1
