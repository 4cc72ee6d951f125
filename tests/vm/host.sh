#!/usr/bin/env bash
# host.sh KSCOPE TRUTH GROUP,GROUP…: the same programs on this machine's kernel, as root, in the form of a guest's results.
set -euo pipefail
kscope=$1 truth=$2 groups=$3
root=()
[ "$(id -u)" -eq 0 ] || root=(sudo)

report() { "${root[@]}" "$kscope" report --for 1s --format json "$@" 2>/dev/null; }
echo "@report $({ report --with blame,connections || report; } | tr -d '\n')"
# A trial that fails is in the results.
for group in ${groups//,/ }; do "${root[@]}" "$truth" --color never "$group::" 2>/dev/null || true; done
[ -n "$groups" ] || "${root[@]}" "$truth" --color never 2>/dev/null || true
