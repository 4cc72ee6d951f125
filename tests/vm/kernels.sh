#!/usr/bin/env bash
# kernels.sh KERNEL…: fetches Debian's kernels (5.10, 6.1, 6.12, 7.3) and a static busybox into $VM_CACHE, as
# KERNEL/vmlinuz, KERNEL/version and busybox. What is there already is not fetched again; VM_REFRESH=1 asks for newer ones.
#
# Nothing is installed. apt runs with a configuration, lists and a cache of its own, in which only Debian's archive keys are
# trusted; of the machine's apt it takes the mirrors and the proxies. Exit status 3: cannot be fetched here.
set -euo pipefail
: "${VM_CACHE:?the directory to fetch into}"

say() { echo "vm: $*" >&2; }
cannot() { say "$*"; exit 3; }

# The repository and the suite that has a kernel.
suite_of() {
    case $1 in
        5.10) echo debian-security bullseye-security ;;
        6.1) echo debian bookworm ;;
        6.12) echo debian trixie ;;
        7.3) echo debian trixie-backports ;;
        busybox) echo debian bookworm ;;
        *) say "no kernel $1: there are 5.10, 6.1, 6.12 and 7.3"; exit 2 ;;
    esac
}

# The mirror that the machine itself uses for a repository (debian or debian-security), or Debian's own.
mirror_of() {
    local found
    found=$(apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | sed -n "\|/$1/*\$|{p;q}") || true
    echo "${found:-http://deb.debian.org/$1/}"
}

# Makes the private configuration for one suite in the directory $1 and reads the suite's signed lists.
read_suite() {
    local root=$1 repository=$2 suite=$3
    mkdir -p "$root"/{etc/apt.conf.d,etc/preferences.d,state/lists/partial,cache/archives/partial,log}
    : >"$root/state/status"
    echo "deb [arch=amd64 signed-by=$KEYRING] $(mirror_of "$repository") $suite main" >"$root/etc/sources.list"
    cat >"$root/apt.conf" <<CONF
Dir::Etc "$root/etc";
Dir::State "$root/state";
Dir::State::status "$root/state/status";
Dir::Cache "$root/cache";
Dir::Log "$root/log";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
$(apt-config dump 2>/dev/null | grep -i '^Acquire::https\?::Proxy' || true)
CONF
    APT_CONFIG=$root/apt.conf apt-get -qq update -o APT::Update::Error-Mode=any >&2 ||
        cannot "the lists of Debian's $suite cannot be fetched"
}

# The package that has the kernel itself: linux-image-amd64 names the newest image, and since 2026 that one names a package
# of the binary alone.
newest_image() {
    local root=$1 package=linux-image-amd64 kind next
    for kind in image binary; do
        next=$(APT_CONFIG=$root/apt.conf apt-cache depends "$package" | sed -n "s/^ *Depends: \(linux-$kind-[0-9].*\)\$/\1/p")
        package=${next:-$package}
    done
    echo "$package"
}

# Fetches a package by its name in the suite of the directory $1, checked against the signed lists, and prints its path.
download() {
    local root=$1 package=$2
    (cd "$root" && rm -f -- *.deb && APT_CONFIG=$root/apt.conf apt-get -qq download "$package" >&2) ||
        cannot "Debian's package $package cannot be fetched"
    echo "$root"/*.deb
}

# Moves the one file of a package whose name matches $2 to $3; nothing else is unpacked.
take() {
    local deb=$1 pattern=$2 to=$3 files
    files=$(mktemp -d "$VM_CACHE/files.XXXXXX")
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$files" --wildcards "$pattern"
    find "$files" -type f -exec mv {} "$to" \;
    rm -rf "$files"
}

fetch() {
    local what=$1 repository suite root deb package
    read -r repository suite <<<"$(suite_of "$what")"
    root=$(mktemp -d "$VM_CACHE/fetch.XXXXXX")
    read_suite "$root" "$repository" "$suite"
    if [ "$what" = busybox ]; then
        deb=$(download "$root" busybox-static)
        take "$deb" '*/bin/busybox' "$VM_CACHE/busybox"
    else
        package=$(newest_image "$root")
        deb=$(download "$root" "$package")
        mkdir -p "$VM_CACHE/$what"
        take "$deb" '*/vmlinuz*' "$VM_CACHE/$what/vmlinuz"
        # The version in Debian's terms: the name of the image hides the release it is made from.
        dpkg-deb --field "$deb" Version >"$VM_CACHE/$what/version"
    fi
    rm -rf "$root"
}

mkdir -p "$VM_CACHE"
VM_CACHE=$(cd "$VM_CACHE" && pwd)
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
for what in busybox "$@"; do
    suite_of "$what" >/dev/null
    marker=$VM_CACHE/$what
    [ "$what" = busybox ] || marker=$VM_CACHE/$what/version
    if [ -s "$marker" ] && [ "${VM_REFRESH:-}" != 1 ]; then
        continue
    fi
    for tool in apt-get dpkg-deb; do
        command -v "$tool" >/dev/null || cannot "$tool is not installed: it fetches Debian's kernels"
    done
    # Debian has its keys; a derivative may not.
    if [ ! -s "$KEYRING" ] && [ "$(id -u)" -eq 0 ]; then
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q debian-archive-keyring >&2 || true
    fi
    [ -s "$KEYRING" ] || cannot "$KEYRING is not there: install debian-archive-keyring"
    say "fetching $what from Debian ($(suite_of "$what" | cut -d' ' -f2))"
    fetch "$what"
done
