#!/usr/bin/env bash
# qemu.sh: sees to it that QEMU is there, and installs it where apt is and may. Exit status 1: it is not.
set -euo pipefail

command -v qemu-system-x86_64 >/dev/null && exit
if command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ]; then
    echo "vm: installing QEMU, in which the kernels run" >&2
    export DEBIAN_FRONTEND=noninteractive
    install() { apt-get install -y -q --no-install-recommends qemu-system-x86 >&2; }
    install || { apt-get update -q >&2 && install; }
else
    echo "vm: QEMU is not installed (on Debian: apt install qemu-system-x86)" >&2
    exit 1
fi
