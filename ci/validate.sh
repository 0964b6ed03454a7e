#!/bin/sh
# Holds every format of `bpfassay gate` against its published schema or its real reader.
#
#   ci/validate.sh SCHEMAS [CONFIG]
#
# SCHEMAS is a folder with what is to be asked; what is not there is skipped, and said so:
#   sarif-2.1.0.json   SARIF 2.1.0 (schemastore, src/schemas/json/sarif-2.1.0.json)
#   junit-*.xsd        JUnit: windyroad/JUnit-Schema's JUnit.xsd (Ant), jenkinsci/xunit-plugin's junit-10.xsd
#   codeclimate.json   GitLab's own schema of one code quality issue (app/validators/json_schemas)
#   veristat           the kernel's tools/testing/selftests/bpf/veristat, built
# CONFIG is a gate's configuration; the bundled objects without one.
# Needs check-jsonschema (pip), xmllint, and BPFASSAY or `bpfassay` on the path.
# shellcheck disable=SC2317  # functions are handed to ask by name
set -eu

schemas=$(CDPATH='' cd -- "$1" && pwd)
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
gate=${BPFASSAY:-bpfassay}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

config=${2:-}
if [ -z "$config" ]; then
    config=$work/bpfassay.toml
    printf 'objects = ["%s/../corpus/objects/v3/**/*.o"]\nkernels = ["6.18", "6.18.15"]\n' "$here" >"$config"
fi

status=0
"$gate" gate --config "$config" --output text="$work/text" --output json="$work/json" \
    --output sarif="$work/sarif" --output junit="$work/junit" --output github="$work/github" \
    --output gitlab="$work/gitlab" --output markdown="$work/markdown" \
    --output veristat="$work/csv" || status=$?
tail -n 1 "$work/text"
[ "$status" -le 2 ] || { echo "the gate itself failed: $status"; exit 1; }

ask() { # NAME FILE COMMAND…: FILE says whether there is anything to ask.
    name=$1 file=$2
    shift 2
    if [ ! -e "$file" ]; then
        echo "skipped  $name: no $file"
    elif "$@" >"$work/answer" 2>&1; then
        echo "accepted $name"
    else
        echo "REFUSED  $name"
        head -n 20 "$work/answer"
        failed=1
    fi
}

# GitLab's schema is of one issue; the report is an array of them.
each_issue() {
    printf '{"type": "array", "items": %s}' "$(cat "$schemas/codeclimate.json")" >"$work/array.json"
    check-jsonschema --schemafile "$work/array.json" "$work/gitlab"
}

# Every line is a command of the documented grammar, or is none; properties hold no raw separator.
commands() {
    if grep '^::' "$work/github" | grep -Evn \
        '^::(error|warning|notice) file=[^,:]+(,line=[0-9]+)?(,col=[0-9]+)?,title=[^,:]+::[^[:cntrl:]]'; then
        return 1
    fi
}

ask 'sarif    by the SARIF 2.1.0 schema' "$schemas/sarif-2.1.0.json" \
    check-jsonschema --schemafile "$schemas/sarif-2.1.0.json" "$work/sarif"
for xsd in "$schemas"/junit-*.xsd; do
    ask "junit    by $(basename "$xsd")" "$xsd" xmllint --noout --schema "$xsd" "$work/junit"
done
ask 'gitlab   by GitLab'"'"'s schema' "$schemas/codeclimate.json" each_issue
ask 'github   by the grammar of workflow commands' "$work/github" commands
ask 'veristat by veristat -C' "$schemas/veristat" "$schemas/veristat" -C "$work/csv" "$work/csv"
ask 'json     as JSON' "$work/json" python3 -m json.tool "$work/json"
exit "$failed"
