#!/usr/bin/env bash
# The whole path on the example passages: raw text, vocabulary, pre-training, fine-tuning, an answer.
# Run by `make demo-train`; every command is printed as a person would type it. Results land in demo/.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
rm -rf demo
started=$(date +%s)

step() { printf '\n\033[1m%s\033[0m\n' "$1"; }
run() {
    printf '$ dokkai'
    printf ' %q' "$@" | sed 's/\\ / /g; s/\\?/?/g'
    printf '\n'
    dokkai "$@"
}
ask() {
    printf '$ dokkai ask "%s" %s --model %s\n' "$1" "$2" "$3"
    dokkai ask "$1" "$2" --model "$3"
}
f1() { python -c "import json, sys; print('%.1f' % json.load(open(sys.argv[1]))['metrics']['f1'])" "$1/run.json"; }

step "1. Learn a vocabulary from raw text"
run vocab examples/passages.txt --size 2048 --out demo/vocab
step "2. Turn the text into token shards"
run prepare examples/passages.txt --tokenizer demo/vocab --heldout 0.1 --out demo/data
step "3. Pre-train a toy encoder: guess masked words, judge sentence pairs"
run pretrain demo-pretrain --data demo/data --out demo/encoder
step "4. Fine-tune it on 255 questions about 36 passages"
run finetune demo-questions --from demo/encoder --train examples/train.json --dev examples/dev.json --out demo/reader
step "   The same from random weights, to compare"
run finetune demo-questions --from demo/encoder --random-weights --train examples/train.json --dev examples/dev.json \
    --out demo/reader-random
step "5. Evaluate"
run evaluate demo/reader examples/dev.json
step "6. Ask. A question it was trained on:"
ask "Who saw the birth of a volcano in his field?" examples/volcano.txt demo/reader
step "   A question about a passage it has never been asked about:"
ask "Who built a lighthouse on the Eddystone rocks in 1759?" examples/lighthouse.txt demo/reader

printf '\nF1 on 87 unseen questions: %s after pre-training, %s from random weights.\n' \
    "$(f1 demo/reader)" "$(f1 demo/reader-random)"
printf 'Forty pages of text make no reader: this shows the path, not the quality. Done in %d s.\n' \
    "$(($(date +%s) - started))"
