"""What quantize writes, read by Hugging Face transformers: config and tokenizer, as it reads the source's."""
import json
import logging
import os
import shutil
import sys
import unittest
import warnings

import support

sys.path[:0] = [str(path) for path in sorted((support.SOURCE / "build/venv/lib").glob("python3*/site-packages"))]
sys.path.append(str(support.SOURCE / "tools/reference"))
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
try:
    import transformers
    from make_small_models import draw, read_recipe
    from tensors import write
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
except ImportError:
    transformers = None

DIALECTS = ("mindie", "ascendv1")
# The model_types of code that lies beside a checkpoint, and the class of transformers that computes the same.
SAME_CLASS = {"kimi_k2": "deepseek_v3"}
# What says how weights are stored, and names; every other key of the source has its value in the output.
OF_THE_FORM = {"quantization_config", "_name_or_path", "transformers_version", "model_type", "architectures"}
# Only said where a class reads a model_type that is not its own, as MindIE's "deepseekv2" and Kimi's are.
OF_ANOTHER_TYPE = "You are using a model of type"


class Messages(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []

    def emit(self, record):
        self.texts.append(record.getMessage())


def without_hub_names(config):
    """A config.json as transformers 5 writes it: rotary parameters and the type under its names alone."""
    config = dict(config)
    scaling = config.pop("rope_scaling", None) or {}
    parameters = {("rope_type" if key == "type" else key): value for key, value in scaling.items()}
    config["rope_parameters"] = {"rope_type": "default", **parameters, "rope_theta": config.pop("rope_theta", 10000.0)}
    config["dtype"] = config.pop("torch_dtype", "bfloat16")
    for key in ("scoring_func", "topk_method", "moe_layer_freq", "aux_loss_alpha", "seq_aux"):
        config.pop(key, None)
    return config


def spelled(value):
    """Without the older name of rope_type, which both may have."""
    return {key: v for key, v in value.items() if key != "type"} if isinstance(value, dict) else value


@unittest.skipIf(transformers is None, "no transformers in build/venv; get it with: make deps")
class Transformers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = support.WORK / "transformers"
        shutil.rmtree(cls.work, ignore_errors=True)
        cls.work.mkdir(parents=True)
        transformers.utils.logging.disable_default_handler()

    def setUp(self):
        self.messages = Messages()
        logging.getLogger("transformers").addHandler(self.messages)
        self.addCleanup(logging.getLogger("transformers").removeHandler, self.messages)

    def source(self, name):
        """A small random model of the tests, whole."""
        folder, recipe = self.work / name, support.GOLDEN / name
        folder.mkdir()
        shutil.copy(recipe / "config.json", folder)
        attempt, lines = read_recipe(recipe / "tensors.txt")
        write(folder / "model.safetensors", draw(lines, attempt))
        return folder

    def quantized(self, source, dialect):
        out = source.parent / f"{source.name}-{dialect}"
        support.run("quantize", "--model", source, "--out", out, "--format", dialect, "--dynamic", "--anti", "none")
        support.run("verify", out, "--source", source)
        return out

    def read(self, reader, folder):
        """What `reader` makes of the folder, without a warning."""
        self.messages.texts.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made = reader.from_pretrained(folder)
        texts = [text for text in self.messages.texts if not text.startswith(OF_ANOTHER_TYPE)]
        self.assertEqual(texts + [str(w.message) for w in caught], [], folder)
        return made

    def check_configs(self, source, quiet=True):
        """Every key that the class has for the source has the same value for both outputs."""
        model_type = json.loads((source / "config.json").read_text())["model_type"]
        reader = CONFIG_MAPPING[SAME_CLASS.get(model_type, model_type)]
        wanted = (self.read(reader, source) if quiet else reader.from_pretrained(source)).to_dict()
        for dialect in DIALECTS:
            with self.subTest(f"{source.name} {dialect}"):
                out = self.quantized(source, dialect)
                # "deepseekv2" is MindIE's name; transformers knows the others' own.
                known = dialect == "ascendv1" and model_type not in SAME_CLASS
                got = self.read(transformers.AutoConfig if known else reader, out).to_dict()
                for key in wanted.keys() - OF_THE_FORM:
                    self.assertEqual(spelled(got[key]), spelled(wanted[key]), key)

    def test_small_models_have_the_sources_config(self):
        # Youtu's, Sarvam's and GigaChat's own configs make the classes warn of themselves.
        for name in ("v2-lite-small", "v3-fp8-small", "kimi-k2-small", "glm4-flash-small", "youtu-small", "gigachat3-small",
                     "sarvam-small", "minicpm3-small", "v32-small", "glm5-small"):
            self.check_configs(self.source(name), quiet=False)

    def test_a_trained_model_has_the_sources_config_and_tokenizer(self):
        source = self.work / "tiny-r1"
        shutil.copytree(support.FLOAT_MODEL, source)
        self.check_configs(source)
        texts = ["Hello  world 12\n", "<\uff5cUser\uff5c>hi", "\u4e16\u754c"]
        wanted = self.read(transformers.AutoTokenizer, source)
        for dialect in DIALECTS:
            with self.subTest(dialect):
                # AutoTokenizer asks AutoConfig first, which fails for MindIE's model_type with any tokenizer.
                reader = transformers.AutoTokenizer if dialect == "ascendv1" else transformers.PreTrainedTokenizerFast
                got = self.read(reader, self.work / f"tiny-r1-{dialect}")
                self.assertEqual([got(text)["input_ids"] for text in texts], [wanted(text)["input_ids"] for text in texts])
                self.assertEqual(got.chat_template, wanted.chat_template)

    def test_a_config_of_transformers_5_is_read_as_it_was_meant(self):
        for name in ("v3-fp8-small", "v2-lite-small"):
            renamed = self.source(name).rename(self.work / f"{name}-5")
            config = json.loads((renamed / "config.json").read_text())
            (renamed / "config.json").write_text(json.dumps(without_hub_names(config)))
            self.check_configs(renamed, quiet=False)


if __name__ == "__main__":
    unittest.main()
