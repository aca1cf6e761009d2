#!/bin/sh
# Measures everything prepared in plans/ on this machine's GPU, and serves the slices: no Node, no network.
#
#     run-all.sh [SECONDS] [OUT]      default: 1500 s, ./out-cuda; PYTHON names the interpreter (default: python3)
#
# Every step has its time; what is left over at the end goes to steps that are not complete. Run again with the same OUT to go on: what is
# complete is skipped, points that were measured are kept. A plan or slice that has changed since is measured into a file of its own.
# Exit codes: 0 all complete, 1 something is left or failed, 2 no GPU, no PyTorch or bad arguments.
set -u

here=$(cd "$(dirname "$0")" && pwd) || exit 2
seconds=${1:-1500}
out=${2:-./out-cuda}
python=${PYTHON:-python3}
case $seconds in '' | *[!0-9]*) echo "run-all.sh: '$seconds' is not a number of seconds" >&2; exit 2 ;; esac
mkdir -p "$out/scratch" || exit 2

began=$(date +%s)
# Least time in which a step gets anywhere, s, and what stopping it takes beyond its own.
least=30
grace=45

left() { echo $((seconds - $(date +%s) + began)); }
say() { echo "[$(left) s left] $*" | tee -a "$out/run.log" >&2; }

# Whether a file of measurements or requests, or one of its parts, has a last line that says so.
complete() { grep -qs '"type":"end","reason":"complete"' "$1.jsonl" "$1".[0-9]*.jsonl; }

# The time of a step: its share, and no more than is left. Fails where that is too little.
share() {
  now=$(left)
  [ "$1" -lt "$now" ] && now=$1
  [ "$now" -ge "$least" ] && echo "$now"
}

# Runs a command that keeps a time of its own, and stops it when it does not.
bounded() {
  limit=$(($1 + grace))
  shift
  if command -v timeout >/dev/null 2>&1; then timeout -k 20 "$limit" "$@" 2>>"$out/run.log"; else "$@" 2>>"$out/run.log"; fi
}

# measure NAME SECONDS: the points of plans/NAME.jsonl.
measure() {
  plan=$here/plans/$1.jsonl
  [ -f "$plan" ] || { say "$1: no such plan"; missing=1; return; }
  file=$out/$1.$(sed -n '1s/.*"plan_hash":"\([0-9a-f]\{8\}\).*/\1/p' "$plan")
  complete "$file" && { say "$1: complete"; return; }
  box=$(share "$2") || { say "$1: no time"; missing=1; return; }
  say "$1: up to $box s"
  bounded "$box" "$python" "$here/worker.py" --plan "$plan" --out "$file.jsonl" --budget-s "$box" --scratch "$out/scratch"
  status=$?
  [ "$status" -eq 2 ] && { say "$1: cannot run, see $out/run.log"; [ "$1" = smoke ] && exit 2; }
  [ "$status" -eq 1 ] && say "$1: the model computes wrong results, see $out/run.log"
  complete "$file" || missing=1
}

# serve NAME SECONDS: the requests of plans/slices/NAME; served anew unless all were.
serve() {
  slice=$here/plans/slices/$1
  [ -f "$slice/c.json" ] || { say "slice $1: not prepared"; missing=1; return; }
  folder=$out/slice-$1.$(cksum <"$slice/c.json" | cut -d ' ' -f 1)
  complete "$folder/requests" && { say "slice $1: complete"; return; }
  box=$(share "$2") || { say "slice $1: no time"; missing=1; return; }
  say "slice $1: up to $box s"
  mkdir -p "$folder"
  cp "$slice/c.json" "$folder/c.json"
  bounded "$box" "$python" "$here/serve.py" --plan "$slice/slice.jsonl" --config "$slice/c.json" --out "$folder/requests.jsonl" --budget-s "$box" | tee -a "$out/run.log"
  complete "$folder/requests" || missing=1
}

built() { grep -qs '"type":"model_ready"' "$out"/smoke.*.jsonl; }

# A small model: kernels compile, and what they compute is right. It counts once the model was built; its points alone make no profile.
smoke() {
  built && { say "smoke: passed"; return; }
  measure smoke 40
  built || { say "smoke: no model was built, see $out/run.log"; exit 1; }
  missing=0
}

# Block-scaled FP8 where the GPU has it.
fp8() { if grep -qs '"type":"capabilities".*"fp8_block"' "$out"/smoke.*.jsonl; then echo fp8_block; else echo fp8_tensor; fi; }

# The most useful first; times are those the plans were made for, and sum to 1500 s with the smoke run's; the standard plan goes on while there is
# time. "$1": s beyond a step's own.
steps() {
  measure llama-3.1-8b-bf16 $((190 + $1))
  measure qwen3-8b-bf16 $((182 + $1))
  serve host $((60 + $1))
  serve conversation $((89 + $1))
  serve closed-64 $((89 + $1))
  measure "llama-3.1-8b-$(fp8)" $((150 + $1))
  measure "qwen3-8b-$(fp8)" $((150 + $1))
  serve closed-8 $((95 + $1))
  serve long-prompts $((90 + $1))
  measure qwen3-32b-bf16 $((365 + $1))
  measure llama-3.1-8b-bf16-standard $((540 + $1))
}

missing=0
smoke
steps 0
if [ "$missing" -eq 1 ] && [ "$(left)" -ge "$least" ]; then
  missing=0
  steps "$seconds"
fi
rm -rf "$out/scratch"
if [ "$missing" -eq 0 ]; then say "all complete"; else say "something is left: run again with $out to go on"; fi
exit "$missing"
