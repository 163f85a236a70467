"""lm-eval's local-completions model against latent8 serve: `make test-clients`, which puts it into build/client-venv.

The task is made here: each question has the model's own likeliest continuation and one that nobody would write, so that
a client and a server that understand each other score 1.0, and log-probabilities that belong to other tokens do not."""
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).parents[2]
os.environ.setdefault("LATENT8", str(ROOT / "build/release/bin/latent8"))
os.environ.setdefault("LATENT8_SOURCE_DIR", str(ROOT))
os.environ.setdefault("LATENT8_WORK_DIR", str(ROOT / "build/release/e2e"))
sys.path.insert(0, str(ROOT / "tests/e2e"))
from serve_test import Server  # noqa: E402

LM_EVAL = ROOT / "build/client-venv/bin/lm_eval"
PROMPTS = ["The key", "Deep learning is", "A prime number is", "The network", "Attention lets", "Once upon a time"]
TASK = """
task: latent8_own
dataset_path: json
dataset_kwargs: {data_files: {test: %s}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{prompt}}"
doc_to_choice: "{{choices}}"
doc_to_target: 0
target_delimiter: ""
metric_list: [{metric: acc}]
"""


@unittest.skipUnless(LM_EVAL.exists(), "no lm-eval in build/client-venv: make test-clients fetches it")
class LmEval(unittest.TestCase):
    def test_log_probabilities_of_a_task_of_our_own(self):
        server = Server()
        self.addCleanup(server.stop)
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        documents = []
        for prompt in PROMPTS:
            reply = server.post("/v1/completions", {"prompt": prompt, "temperature": 0, "max_tokens": 6})
            documents.append({"prompt": prompt, "choices": [reply["choices"][0]["text"], " zebra ]]] 77 quux"]})
        (folder / "test.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
        (folder / "own.yaml").write_text(TASK % (folder / "test.jsonl"))
        arguments = f"model=tiny-r1-w8a8-fa3,base_url=http://127.0.0.1:{server.port}/v1/completions,num_concurrent=4,tokenized_requests=True," \
                    f"tokenizer_backend=huggingface,tokenizer={ROOT / 'models/tiny-r1'}"

        done = subprocess.run([LM_EVAL, "--model", "local-completions", "--model_args", arguments, "--tasks", "latent8_own", "--include_path", folder,
                               "--output_path", folder / "out", "--log_samples"], capture_output=True, text=True, timeout=600,
                              env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "TOKENIZERS_PARALLELISM": "false"})

        self.assertEqual(done.returncode, 0, done.stderr[-3000:])
        [results] = (folder / "out").rglob("results_*.json")
        self.assertEqual(json.loads(results.read_text())["results"]["latent8_own"]["acc,none"], 1.0)


if __name__ == "__main__":
    unittest.main()
