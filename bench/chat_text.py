#!/usr/bin/env python3
"""Writes conversations with a model as text for `latent8 eval kld`: the chat template, and the model's own
answers at temperature 1 (seeds 0, 1, ...).

    bench/chat_text.py build/release/bin/latent8 models/tiny-r1 chat.txt [--answers 8] [--max-tokens 400]
"""

import argparse
import json
import subprocess
import sys

QUESTIONS = (
    "What's deep learning?", "Hi", "Who are you?", "What is the capital of France?", "What is 12 + 30?",
    "How do I make bread?", "Write a function that returns the mean of a list.", "Why is the sky blue?",
    "Translate 'good morning' to German.", "Name three rivers.", "What is a neural network?",
    "Tell me a short story about a ferry.", "Explain how a cache works.", "Is 17 a prime number?",
    "What does int8 mean?", "Give me advice on learning to read faster.", "\u4ec0\u4e48\u662f\u6df1\u5ea6\u5b66\u4e60\uff1f", "Was ist ein Baum?",
    "Sort these numbers: 5, 2, 9.", "Thank you!")


def lines(command, requests):
    """What the command answers to JSON lines."""
    text = "".join(json.dumps(r) + "\n" for r in requests)
    out = subprocess.run(command, input=text, stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout
    return [json.loads(line) for line in out.splitlines()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("latent8")
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--answers", type=int, default=8, help="per question")
    parser.add_argument("--max-tokens", type=int, default=400)
    args = parser.parse_args()
    tokenize = [args.latent8, "tokenize", "--model", args.model]
    prompts = lines(tokenize, [{"messages": [{"role": "user", "content": q}], "add_generation_prompt": True}
                               for q in QUESTIONS])
    answers = []
    for i, question in enumerate(QUESTIONS):
        for seed in range(args.answers):
            run = [args.latent8, "run", "--model", args.model, "--prompt", question, "--temperature", "1",
                   "--seed", str(seed), "--max-tokens", str(args.max_tokens), "--json"]
            out = subprocess.run(run, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
            answers.append((i, json.loads(out)["ids"]))
    texts = lines(tokenize, [{"ids": ids} for _, ids in answers])
    with open(args.out, "w", encoding="utf-8") as file:
        for (i, _), text in zip(answers, texts):
            file.write(prompts[i]["text"] + text["text"])
    tokens = sum(len(ids) for _, ids in answers)
    print(f"{len(answers)} answers, {tokens} tokens: {args.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
