#!/usr/bin/env bash
# rows.sh DIR KERNEL…: what the guests said, from DIR/KERNEL.results and DIR/KERNEL.fault, one line each, with tabs between:
#   KERNEL  trial  GROUP::NAME  ok|FAILED|skipped  REASON
#   KERNEL  hook   INSIGHT      HOOKS, or – where the insight is not available
#   KERNEL  fault  REASON
set -euo pipefail
dir=$1
shift

for kernel in "$@"; do
    results=$dir/$kernel.results
    [ ! -s "$dir/$kernel.fault" ] || printf '%s\tfault\t%s\n' "$kernel" "$(head -n 1 "$dir/$kernel.fault")"
    [ -s "$results" ] || continue
    tr -d '\r' <"$results" | awk -v kernel="$kernel" '
        BEGIN {
            OFS = "\t"
            # The programs of an insight, by the beginning of their names, and its name among the qualities.
            split("^sys_ ^sched_(switch|wakeup) ^(sock_|inet|sendmsg|recvmsg|sendpage) ^block_ ^blame_ ^conn_", programs, " ")
            split("syscalls runqueue network disk blame connections", insights, " ")
        }
        /^test / && $3 == "..." {
            word = $4; reason = ""
            if (word ~ /^ignored/) { word = "skipped"; reason = $0; sub(/.*\.\.\. ignored,? ?/, "", reason) }
            # One at which the guest ended has said nothing.
            print kernel, "trial", $2, word == "" ? "FAILED" : word, reason
        }
        /^@report / {
            match($0, /"quality":\{[^}]*\}/); quality = substr($0, RSTART, RLENGTH)
            sub(/.*"probes":\[/, ""); count = split($0, probes, /\},\{/)
            for (i = 1; i in insights; i++) {
                hooks = ""; lacks = 0
                for (p = 1; p <= count; p++) {
                    match(probes[p], /"name":"[^"]*"/); name = substr(probes[p], RSTART + 8, RLENGTH - 9)
                    # Of these two each program is needed: their quality is not among those of the report.
                    if (name ~ programs[i] && programs[i] ~ /^\^(blame|conn)_/ && probes[p] ~ /"reason":/) lacks = 1
                    if (probes[p] !~ /"running":true/) continue
                    match(probes[p], /"hook":"[^"]*"/); hook = substr(probes[p], RSTART + 8, RLENGTH - 9)
                    if (name ~ programs[i] && index(", " hooks ",", ", " hook ",") == 0) hooks = hooks (hooks == "" ? "" : ", ") hook
                }
                if (quality ~ "\"" insights[i] "\":\"not_available\"" || lacks || hooks == "") hooks = "–"
                print kernel, "hook", insights[i], hooks
            }
        }'
done
