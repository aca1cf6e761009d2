#!/bin/sh
# Writes plans/: what run-all.sh measures and serves on an H200. Their times sum to 1500 s, where the smoke run gets 40 s of its plan, a slice about
# 90 s, and fp8_tensor plans stand in for those of fp8_block; the standard plan takes what is left over, and later runs.
#
#     make-plans.sh [PROFILE]
#
# Slices take model, precisions and graphs from a measured profile of Llama-3.1-8B. Without PROFILE one of the stand-in worker serves: the same
# requests and settings, and nothing to compare with. To compare, give the profile that was measured, serve the slices made with it, and keep their
# scenarios: they stay in out/slices.
set -eu

[ $# -eq 0 ] || given=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
plans=engines/cuda/plans
work=out/slices
dynotwin() { node dist/cli/main.js "$@"; }
plan() { dynotwin calibrate plan --model "$2" --hardware h200_sxm --tp "$3" --dtype "$4" --budget "$5" -o "$plans/$1.jsonl" --overwrite; }

plan smoke Qwen/Qwen3-0.6B 1 bf16 115s
plan llama-3.1-8b-bf16 meta-llama/Llama-3.1-8B 1 bf16 190s
plan qwen3-8b-bf16 Qwen/Qwen3-8B 1 bf16 182s
for type in fp8_block fp8_tensor; do
  plan "llama-3.1-8b-$type" meta-llama/Llama-3.1-8B 1 "$type" 150s
  plan "qwen3-8b-$type" Qwen/Qwen3-8B 1 "$type" 150s
done
plan qwen3-32b-bf16 Qwen/Qwen3-32B 2,4 bf16 365s
plan llama-3.1-8b-bf16-standard meta-llama/Llama-3.1-8B 1 bf16 standard

rm -rf "$work"
mkdir -p "$work"
if [ $# -gt 0 ]; then
  profile=$given
else
  dynotwin calibrate run --plan "$plans/llama-3.1-8b-bf16.jsonl" --worker fake -o "$work/measured" --quiet
  profile=$work/measured/profile-tp1
fi
dynotwin trace synthesize --like tool_agent --duration '10 min' --requests 170 --seed 42 --out "$work/tools.jsonl"
dynotwin trace synthesize --like document_qa --duration '40 min' --requests 110 --seed 42 --out "$work/documents.jsonl"

# slice NAME TRACE REQUESTS LOAD…
slice() {
  name=$1 trace=$2 requests=$3
  shift 3
  dynotwin calibrate slice "$trace" --profile "$profile" --requests "$requests" "$@" --set deployment.engine.max_num_seqs=64 -o "$work/$name"
  mkdir -p "$plans/slices/$name"
  cp "$work/$name/slice.jsonl" "$work/$name/c.json" "$plans/slices/$name/"
}
slice conversation traces/conversation_mini.jsonl 120 --rate 2
slice closed-8 "$work/tools.jsonl" 170 --concurrency 8
slice closed-64 traces/conversation_mini.jsonl 110 --concurrency 64
slice long-prompts "$work/documents.jsonl" 110 --rate 1.8
# Tells what the host takes, and is compared with nothing: short on purpose.
slice host "$work/tools.jsonl" 100 --concurrency 32
