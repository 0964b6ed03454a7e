#!/usr/bin/env bash
# Runs the gate in a GitHub job: annotations, a page in the job's summary, files to upload, outputs.
#
# In:  GATE_CONFIG (default bpfassay.toml), GATE_REPORTS (folder, default bpfassay-report),
#      BPFASSAY (default bpfassay), GATE_UPDATE_BASELINE (true writes the baseline anew);
#      of GitHub: GITHUB_OUTPUT, GITHUB_STEP_SUMMARY; each may be missing.
# Out: the gate's exit status; outputs exit-code, verdict, sarif, junit, gitlab, json, markdown.
set -euo pipefail

config=${GATE_CONFIG:-bpfassay.toml}
reports=${GATE_REPORTS:-bpfassay-report}
gate=${BPFASSAY:-bpfassay}
extra=()
if [ "${GATE_UPDATE_BASELINE:-false}" = true ]; then
    extra+=(--update-baseline)
fi

mkdir -p "$reports"
# Of an earlier run nothing may be left that could pass for this one's.
rm -f "$reports"/bpfassay.{txt,json,sarif,junit.xml,github,gitlab.json,md,csv}

status=0
"$gate" gate --config "$config" ${extra[@]+"${extra[@]}"} \
    --output text="$reports/bpfassay.txt" \
    --output json="$reports/bpfassay.json" \
    --output sarif="$reports/bpfassay.sarif" \
    --output junit="$reports/bpfassay.junit.xml" \
    --output github="$reports/bpfassay.github" \
    --output gitlab="$reports/bpfassay.gitlab.json" \
    --output markdown="$reports/bpfassay.md" \
    --output veristat="$reports/bpfassay.csv" || status=$?

output() {
    if [ -n "${GITHUB_OUTPUT:-}" ]; then
        printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"
    fi
}

if [ -f "$reports/bpfassay.json" ]; then
    # Sources are quoted in the report, and a line of one might look like a workflow command.
    token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    echo "::stop-commands::$token"
    cat "$reports/bpfassay.txt"
    echo "::$token::"
    grep '^::' "$reports/bpfassay.github" || true
    if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
        cat "$reports/bpfassay.md" >>"$GITHUB_STEP_SUMMARY"
    fi
    verdict=$(sed -n 's/^  "verdict": "\([a-z-]*\)",$/\1/p' "$reports/bpfassay.json" | head -n 1)
    output sarif "$reports/bpfassay.sarif"
    output junit "$reports/bpfassay.junit.xml"
    output gitlab "$reports/bpfassay.gitlab.json"
    output json "$reports/bpfassay.json"
    output markdown "$reports/bpfassay.md"
else
    # The configuration is broken, or there is no bpfassay; its own words stand above.
    verdict=error
    echo "::error title=bpfassay gate::the gate did not run; its message stands in the log"
    if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then
        printf '## ❌ bpfassay gate\n\nThe gate did not run; its message stands in the log.\n' \
            >>"$GITHUB_STEP_SUMMARY"
    fi
fi
output verdict "$verdict"
output exit-code "$status"
exit "$status"
