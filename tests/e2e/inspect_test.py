"""inspect and doctor: what a checkpoint is, from outside."""
import unittest

import support


class Inspect(unittest.TestCase):
    def test_a_float_checkpoint_has_no_quantisation(self):
        d = support.run_json("inspect", support.FLOAT_MODEL)

        self.assertIsNone(d["quantisation"])
        self.assertEqual(d["model"]["num_hidden_layers"], 5)
        self.assertEqual(len(d["layers"]), 6)
        self.assertEqual(d["cache_bytes_per_token_fp16"], 5 * 1152)
        self.assertEqual(sum(d["bytes_by_kind"].values()), d["bytes"])

    def test_a_quantised_checkpoint_has_640_bytes_of_cache_per_layer(self):
        d = support.run_json("inspect", support.quantized_model())

        self.assertEqual(d["quantisation"]["dialect"], "mindie")
        self.assertEqual(d["cache_bytes_per_token"], 5 * 640)
        self.assertTrue(all(layer["fa_quant"] for layer in d["layers"] if not layer["mtp"]))
        self.assertEqual(d["layers"][1]["mlp"], "W8A8_DYNAMIC")

    def test_tensors_are_listed_with_type_shape_and_form(self):
        tensors = support.run_json("inspect", support.quantized_model(), "--tensors")["tensors"]

        q_a = next(t for t in tensors if t["name"] == "model.layers.0.self_attn.q_a_proj.weight")
        self.assertEqual((q_a["dtype"], q_a["shape"], q_a["quant"]), ("I8", [128, 256], "W8A8"))

    def test_a_checkpoint_of_the_reference_is_read(self):
        d = support.run_json("inspect", support.GOLDEN / "msmodelslim" / "a_mindie_m4_static")

        self.assertEqual(d["quantisation"]["fa_quant_type"], "FAQuant")
        self.assertEqual(d["cache_bytes_per_token"], 5 * 640)

    def test_text_and_json_name_the_same_cache_size(self):
        self.assertIn("3200 bytes per token", support.run("inspect", support.quantized_model()))


class Doctor(unittest.TestCase):
    def test_the_machine_is_described(self):
        machine = support.run_json("doctor")["machine"]

        self.assertIn(machine["isa"], machine["isa_supported"])
        self.assertGreater(machine["threads"], 0)
        self.assertGreater(machine["memory_bytes"], 0)

    def test_a_checkpoint_is_said_to_fit(self):
        checkpoint = support.run_json("doctor", support.quantized_model())["checkpoint"]

        self.assertTrue(checkpoint["fits"])
        self.assertTrue(checkpoint["int8_cache"])
        self.assertEqual(checkpoint["cache_bytes_per_1k_tokens"], 5 * 640 * 1024)


if __name__ == "__main__":
    unittest.main()
