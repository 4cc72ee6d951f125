#!/usr/bin/env bash
# table.sh DIR KERNEL…: prints what came of each trial on each kernel, the hooks each insight stands on, and why a trial failed
# or was skipped. Exit status 1: a trial failed, a guest did not come to its end, or no trial was done on a kernel.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$1
shift

status=0
"$here/rows.sh" "$dir" "$@" | awk -F '\t' -v kernels="$*" '
    $2 == "fault" { fault[$1] = $3; next }
    !(($2, $3) in seen) { seen[$2, $3] = 1; name[++count] = $3; kind[count] = $2; if (length($3) > width) width = length($3) }
    { cell[$2, $3, $1] = $4 }
    $2 == "trial" { sum[$1, $4]++ }
    $4 == "skipped" { reasons[$5] = reasons[$5] "\n  " $1 " " $3 }
    END {
        n = split(kernels, kernel, " ")
        line = sprintf("%-*s", width, "")
        for (k = 1; k <= n; k++) line = line sprintf("  %-8s", kernel[k])
        print line
        for (row = 1; row <= count; row++) {
            line = sprintf("%-*s", width, name[row])
            for (k = 1; k <= n; k++) {
                word = cell[kind[row], name[row], kernel[k]]
                line = line sprintf("  %-8s", word == "" ? "not run" : word)
            }
            print line
        }
        for (reason in reasons) print "\nskipped, " (reason == "" ? "without a reason" : reason) ":" reasons[reason]
        print ""
        for (k = 1; k <= n; k++) {
            ok = sum[kernel[k], "ok"] + 0; bad = sum[kernel[k], "FAILED"] + 0
            printf "kernel %s: %d ok, %d FAILED, %d skipped%s\n", kernel[k], ok, bad, sum[kernel[k], "skipped"],
                kernel[k] in fault ? "; FAILED: " fault[kernel[k]] : ""
            if (bad || !ok || kernel[k] in fault) failed = 1
        }
        exit failed
    }' || status=$?
for kernel in "$@"; do
    # What each that failed had to say.
    tr -d '\r' <"$dir/$kernel.results" 2>/dev/null | sed -n "/^---- /,/^\$/{/./s/^/$kernel: /p}" || true
done
exit "$status"
