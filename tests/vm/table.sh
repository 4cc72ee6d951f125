#!/usr/bin/env bash
# table.sh DIR KERNEL…: prints what the trials said on each kernel, from DIR/KERNEL.results, with what failed and what was
# skipped, and why. Exit status 1: a trial failed, a guest did not come to its end, or nothing was run on a kernel.
set -euo pipefail
dir=$1
shift

status=0
for kernel in "$@"; do
    # A line each: kernel, trial, what came of it, reason.
    sed -n 's/\r$//; s/^test \([^ ]*\) *\.\.\. \(ok\|FAILED\|ignored\)\(, \)\{0,1\}\(.*\)$/'"$kernel"'\t\1\t\2\t\4/p' \
        "$dir/$kernel.results" 2>/dev/null || true
    [ ! -s "$dir/$kernel.fault" ] || printf '%s\t\tfault\t%s\n' "$kernel" "$(head -n 1 "$dir/$kernel.fault")"
done | awk -F '\t' -v kernels="$*" '
    $3 == "fault" { faults[$1] = $4; next }
    !($2 in seen) { seen[$2] = 1; names[++count] = $2; if (length($2) > width) width = length($2) }
    {
        word = $3 == "ignored" ? "skipped" : $3
        cell[$2, $1] = word
        sum[$1, word]++
        # The same reason for many trials is said once.
        if (word == "skipped") reasons[$4] = reasons[$4] (reasons[$4] == "" ? "" : ", ") $1 " " $2
    }
    END {
        n = split(kernels, kernel, " ")
        for (row = -1; row <= count; row++) {
            line = sprintf("%-*s", width, row < 1 ? (row < 0 ? "trial" : "----") : names[row])
            for (k = 1; k <= n; k++) {
                word = row < 0 ? kernel[k] : row < 1 ? "-------" : cell[names[row], kernel[k]]
                line = line sprintf("  %-7s", word == "" ? "not run" : word)
            }
            print line
        }
        print ""
        for (k = 1; k <= n; k++) {
            ok = sum[kernel[k], "ok"] + 0; bad = sum[kernel[k], "FAILED"] + 0
            printf "kernel %s: %d ok, %d FAILED, %d skipped%s\n", kernel[k], ok, bad, sum[kernel[k], "skipped"],
                kernel[k] in faults ? "; FAILED: " faults[kernel[k]] : ""
            if (bad || !ok || kernel[k] in faults) failed = 1
        }
        for (reason in reasons) printf "skipped, %s: %s\n", reason, reasons[reason]
        exit failed
    }' || status=$?
for kernel in "$@"; do
    # What each that failed had to say, up to the next one.
    sed -n "s/\r\$//; /^---- /,/^\$/{s/^/$kernel: /p}" "$dir/$kernel.results" 2>/dev/null || true
done
exit "$status"
