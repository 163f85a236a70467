"""plan: what serving a model takes."""
import unittest

import support

LIMITS = ("--dram-gbs", 600, "--int8-gmacs", 90000, "--fp32-gmacs", 5000)  # of a machine that is not here


def plan(*flags):
    return support.run_json("plan", *flags, *LIMITS)


class Plan(unittest.TestCase):
    def test_r1_without_weights(self):
        p = plan("--shape", "r1", "--memory", "768G", "--context", 131072, "--sequences", 32)

        self.assertEqual(p["int8"]["bytes_per_token"], 61 * 640)
        self.assertEqual(p["fp16"]["bytes_per_token"], 61 * 1152)
        self.assertEqual(p["memory_bytes"], 768 << 30)
        left = p["memory_bytes"] - p["weights_bytes"] - p["step_buffer_bytes"]
        self.assertEqual(p["cache_bytes"], left)
        self.assertEqual(p["int8"]["sequences_that_fit"], left // (131072 * 61 * 640))
        self.assertEqual(p["int8"]["bytes"], 32 * 131072 * 61 * 640)
        self.assertEqual(p["limits"]["dram_gbs"], 600)
        # W8A8: a byte for most of 671 billion parameters.
        self.assertAlmostEqual(p["weights_bytes"] / 671e9, 1.0, delta=0.03)

    def test_int8_is_faster_and_holds_more_and_a_batch_gives_more_than_one(self):
        p = plan("--shape", "r1", "--memory", "900G", "--context", 131072, "--sequences", 8)

        self.assertGreater(p["int8"]["sequences_that_fit"], 1.7 * p["fp16"]["sequences_that_fit"])
        self.assertGreater(p["int8"]["decode_tok_per_s_of_one"], p["fp16"]["decode_tok_per_s_of_one"])
        self.assertGreater(p["int8"]["decode_tok_per_s"], 1.3 * p["int8"]["decode_tok_per_s_of_one"])

    def test_a_checkpoint_has_its_own_sizes_and_longest_context(self):
        model = support.quantized_model()
        inspected = support.run_json("inspect", model)

        p = plan("--model", model, "--memory", "1GiB")

        self.assertEqual(p["weights_bytes"], inspected["bytes"])
        self.assertEqual(p["context"], 8192)
        self.assertTrue(p["int8"]["fits"])

    def test_too_little_memory_is_told(self):
        text = support.run("plan", "--shape", "r1", "--memory", "64G", *LIMITS)

        self.assertIn("the weights alone are too much", text)
        self.assertIn("sequences that fit", text)

    def test_a_context_beyond_the_model_is_refused_with_both_numbers(self):
        message = support.run("plan", "--model", support.FLOAT_MODEL, "--context", 9000, *LIMITS, expect=1)

        self.assertIn("8192", message)
        self.assertIn("9000", message)

    def test_limits_are_measured_here_unless_given(self):
        p = support.run_json("plan", "--shape", "tiny-r1", "--context", 1024)

        self.assertGreater(p["limits"]["dram_gbs"], 0)
        self.assertGreater(p["int8"]["decode_tok_per_s"], 0)


if __name__ == "__main__":
    unittest.main()
