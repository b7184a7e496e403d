#!/usr/bin/env bash
# The reader that comes with dokkai, on a passage of the examples and on one of yours. Run by `make demo`.
# Without a terminal the passage and the question are two lines of standard input, if there are any.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH" HF_HUB_OFFLINE=1

bold() { printf '\n\033[1m%s\033[0m\n' "$1"; }
ask() { # question, file
    printf '$ dokkai ask "%s" %s\n' "$1" "$2"
    local TIMEFORMAT=$'  \033[2m(%1R s)\033[0m'
    { time dokkai ask "$1" "$2" 2>&3; } 3>&2 2>&1
}

bold "A passage of the examples"
fold -s -w 100 examples/lighthouse.txt
echo
ask "Who built a lighthouse on the Eddystone rocks?" examples/lighthouse.txt
ask "What did Fresnel invent?" examples/lighthouse.txt
ask "Who painted the ceiling of the chapel?" examples/lighthouse.txt

bold "A passage of yours"
passage='' question=''
if [ -t 0 ]; then
    echo 'Type or paste a passage of one line, and press Enter (or Enter alone to leave it out).'
    read -r -e -p 'passage: ' passage || true
    [ -z "$passage" ] || read -r -e -p 'question: ' question || true
else
    read -r passage || true
    read -r question || true
fi
if [ -n "$passage" ] && [ -n "$question" ]; then
    mkdir -p demo
    printf '%s\n' "$passage" > demo/yours.txt
    ask "$question" demo/yours.txt
else
    echo 'Another time: dokkai ask "a question?" FILE_OR_FOLDER...'
fi
