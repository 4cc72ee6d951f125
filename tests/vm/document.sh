#!/usr/bin/env bash
# document.sh DIR KERNEL…: prints docs/kernels.md. Nothing in it changes from one run to the next unless an outcome or a
# kernel does: no times, no numbers that a trial measured.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$1
shift

versions=()
for kernel in "$@"; do
    # Of the machine's own kernel its release without what the machine's makers added.
    versions+=("$(cat "$VM_CACHE/$kernel/version" 2>/dev/null || uname -r | cut -d- -f1)")
done

cat <<'TEXT'
# Kernels

Written by `make vm-test ARGS=--write`: kscope and its truth tests, built statically, on Debian's kernels, each in a guest of
QEMU with two CPUs and 2 GB. The kernels are fetched by apt with Debian's keys and are not installed. A column `host` is the
machine's own kernel, without a guest.

TEXT
"$here/rows.sh" "$dir" "$@" | awk -F '\t' -v kernels="$*" -v versions="${versions[*]}" '
    function row(first, list, of,    k, line) {
        line = "| " first " |"
        for (k = 1; k <= n; k++) line = line " " (of == "" ? list[k] : list[of, kernel[k]]) " |"
        print line
    }
    BEGIN {
        n = split(kernels, kernel, " "); split(versions, version, " ")
        title["syscalls"] = "System calls"; title["runqueue"] = "Run queue"; title["network"] = "Network"
        title["disk"] = "Disk"; title["blame"] = "Blame"; title["connections"] = "Connections"
    }
    $2 == "fault" { fault[$1] = $3; next }
    $2 == "hook" { if (!($3 in insight)) { insight[$3] = 1; insights[++hooks] = $3 } hook[$3, $1] = $4 }
    $2 == "trial" {
        group = $3; sub(/::.*/, "", group)
        if (!(group in known)) { known[group] = 1; groups[++count] = group }
        sum[group, $1, $4]++
        if ($4 == "FAILED") failed = failed "\n* " $1 ": `" $3 "`"
        if ($4 == "skipped") {
            if (!(($5, group) in by)) { by[$5, group] = 1; from[$5] = from[$5] (from[$5] == "" ? "" : ", ") group }
            if (!($5 in reason)) { reason[$5] = 1; order[++skips] = $5 }
        }
    }
    END {
        print "## What each insight stands on\n"
        row("", kernel)
        line = "|---|"; for (k = 1; k <= n; k++) line = line "---|"; print line
        row("version", version)
        for (i = 1; i <= hooks; i++) row(title[insights[i]], hook, insights[i])
        print "\n`–`: not available there.\n\n## What came of the trials\n"
        row("trials", kernel)
        print line
        for (g = 1; g <= count; g++) {
            for (k = 1; k <= n; k++) {
                text = ""
                split("ok FAILED skipped", words, " ")
                for (w = 1; w <= 3; w++) {
                    times = sum[groups[g], kernel[k], words[w]]
                    if (times) text = text (text == "" ? "" : ", ") times " " (words[w] == "FAILED" ? "**FAILED**" : words[w])
                }
                outcome[groups[g], kernel[k]] = text == "" ? "not run" : text
            }
            row("`" groups[g] "`", outcome, groups[g])
        }
        for (k = 1; k <= n; k++) if (kernel[k] in fault) print "\nThe guest of " kernel[k] " failed."
        print "\n## What failed\n" (failed == "" ? "\nNothing." : failed)
        print "\n## What was skipped\n"
        if (!skips) print "Nothing."
        for (s = 1; s <= skips; s++) print "* " (order[s] == "" ? "without a reason" : order[s]) ": " from[order[s]]
    }'
