#!/usr/bin/env bash
# initramfs.sh OUT BUSYBOX KSCOPE TRUTH: packs what a guest runs into one archive, which is its whole file system: what else
# it could be read from (virtio, 9p, overlay) are modules in Debian's older kernels.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$1 busybox=$2 kscope=$3 truth=$4

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,etc,proc,root,run,sys,tmp}
cp "$busybox" "$root/bin/busybox"
install -m 755 "$here/guest-init" "$root/init"
strip -o "$root/bin/kscope" "$kscope"
strip -o "$root/bin/truth" "$truth"
# The tests start kscope by the path at which it was built: the guest makes a link of it.
echo "$kscope" >"$root/etc/kscope-path"
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
(cd "$root" && find . | "$busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$out"
