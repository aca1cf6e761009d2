"""A router outside the simulator: JSON lines on standard input and output (scenarios/README.md)."""
import json
import random
import sys


def choose(request, draw):
    """The worker with the fewest prompt tokens to compute, counting those it is busy with."""

    def work(candidate):
        return candidate["active_prefill_tokens"] + request["prompt_tokens"] - candidate["cached_tokens"]

    least = min(map(work, request["candidates"]))
    best = draw.choice([candidate for candidate in request["candidates"] if work(candidate) == least])
    return {"id": request["id"], "worker": best["worker"], "rank": best["rank"]}


def main():
    draw = random.Random()
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "hello":
            draw.seed(message["seed"])
            answer = {"type": "ready"}
        elif message["type"] == "route":
            answer = choose(message, draw)
        elif message["type"] == "bye":
            return
        else:  # first_token and finished want no answer
            continue
        print(json.dumps(answer), flush=True)


main()
