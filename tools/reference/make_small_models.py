#!/usr/bin/env python3
"""Writes the goldens of tests/model for configs that models/tiny-r1 lacks: the logits of small random models.

usage: make_small_models.py [OUT [NAME..]]        default: tests/data/golden and every model; needs numpy.

OUT/<name>/config.json, tensors.txt: the model without its weights, its config as its publishers write it (PUBLISHED), which tests/support/small_model.h draws as draw() does
here. tensors.txt: the attempt, then a tensor per line: name, form (see FORMS), exponent, shape.
OUT/<name>.golden.safetensors: N.ids [S] i64; N.logits [S, vocab_size] f32 of every position; with an MTP layer
N.mtp [S-1, vocab_size] f32. Computed in float64 by deepseek.py from the drawn weights.
The generator refuses a model whose choice of experts hangs on a difference below SMALLEST_MARGIN.
"""
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from deepseek import Model, keep_largest
from recipe import bell, bits
from tensors import BLOCK, to_bf16, write

LENGTHS = [1, 2, 29, 130]
FEW_LENGTHS = [1, 29]  # of models that differ from others by their configs and names alone
SMALLEST_MARGIN = 2e-5

COMMON = {
    "vocab_size": 192, "hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": False,
    "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 1, "max_position_embeddings": 2048,
    "moe_layer_freq": 1, "first_k_dense_replace": 1, "n_routed_experts": 8,
}


def yarn(factor, original, mscale, **more):
    return {"type": "yarn", "factor": factor, "original_max_position_embeddings": original, "beta_fast": 32.0,
            "beta_slow": 1.0, "mscale": mscale, "mscale_all_dim": mscale} | more


MODELS = {
    # Kimi K2: one group, no MTP, theta 50000, a head count that is no power of two. Its rms_norm_eps is 1e-5; ten times that
    # shows in the logits (8e-4) if the norms of the latents have it too.
    "kimi-k2-small": COMMON | {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "kimi_k2", "hidden_size": 96,
        "num_hidden_layers": 2, "intermediate_size": 160, "moe_intermediate_size": 24, "num_attention_heads": 3,
        "num_key_value_heads": 3, "q_lora_rank": 48, "kv_lora_rank": 256, "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 64, "v_head_dim": 64, "n_shared_experts": 1, "num_experts_per_tok": 3, "n_group": 1,
        "topk_group": 1, "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": True,
        "routed_scaling_factor": 2.827, "rms_norm_eps": 1e-4, "rope_theta": 50000.0, "num_nextn_predict_layers": 0,
        "rope_scaling": yarn(32.0, 64, 1.0, beta_fast=1.0),
    },
    # V2-Lite: no q_lora, softmax gate without groups, two shared experts, other MLA sizes.
    "v2-lite-small": COMMON | {
        "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "hidden_size": 64,
        "num_hidden_layers": 2, "intermediate_size": 224, "moe_intermediate_size": 32, "num_attention_heads": 4,
        "num_key_value_heads": 4, "q_lora_rank": None, "kv_lora_rank": 256, "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32, "v_head_dim": 64, "n_shared_experts": 2, "num_experts_per_tok": 3, "n_group": 1,
        "topk_group": 1, "scoring_func": "softmax", "topk_method": "greedy", "norm_topk_prob": False,
        "routed_scaling_factor": 1.0, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "rope_scaling": yarn(40.0, 64, 0.707),
    },
    # V2 236B: group_limited_greedy with q_lora; the group score is its best expert; no rope scaling at all.
    "v2-small": COMMON | {
        "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "hidden_size": 64,
        "num_hidden_layers": 2, "intermediate_size": 96, "moe_intermediate_size": 24, "num_attention_heads": 3,
        "num_key_value_heads": 3, "q_lora_rank": 48, "kv_lora_rank": 128, "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 64, "v_head_dim": 128, "n_shared_experts": 2, "num_experts_per_tok": 3, "n_group": 4,
        "topk_group": 2, "scoring_func": "softmax", "topk_method": "group_limited_greedy", "norm_topk_prob": False,
        "routed_scaling_factor": 16.0, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": None,
    },
    # V3 in fp8: e4m3 with a scale per 128x128 block, sizes that 128 does not divide, MTP without tables of its own.
    "v3-fp8-small": COMMON | {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_size": 136,
        "num_hidden_layers": 2, "intermediate_size": 264, "moe_intermediate_size": 40, "num_attention_heads": 2,
        "num_key_value_heads": 2, "q_lora_rank": 136, "kv_lora_rank": 256, "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64, "v_head_dim": 128, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 4,
        "topk_group": 2, "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": True,
        "routed_scaling_factor": 2.5, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "num_nextn_predict_layers": 1,
        "rope_scaling": yarn(40.0, 64, 1.0),
        "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                                "weight_block_size": [128, 128]},
    },
}

SMALL = COMMON | {
    "vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "moe_intermediate_size": 24,
    "num_attention_heads": 2, "num_key_value_heads": 2, "kv_lora_rank": 64, "qk_nope_head_dim": 48, "qk_rope_head_dim": 32,
    "v_head_dim": 64, "n_shared_experts": 1, "num_experts_per_tok": 3, "n_group": 1, "topk_group": 1,
    "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": True, "routed_scaling_factor": 2.5,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": None, "num_nextn_predict_layers": 0,
}
# Members of the family with other names: the config that the reference computes by, and what is left out of it or said
# otherwise in the one that the publishers write: a key with None is absent there.
MODELS |= {
    # GLM-4.7-Flash: no scoring_func and no topk_method, layers by name, rope_parameters, an MTP layer.
    "glm4-flash-small": SMALL | {
        "model_type": "glm4_moe_lite", "architectures": ["Glm4MoeLiteForCausalLM"], "q_lora_rank": 48,
        "routed_scaling_factor": 1.8, "rms_norm_eps": 1e-5, "rope_theta": 1000000.0, "num_nextn_predict_layers": 1,
    },
    # Youtu-LLM: no experts, the head is the embedding.
    "youtu-small": SMALL | {
        "model_type": "youtu", "architectures": ["YoutuForCausalLM"], "q_lora_rank": 48, "tie_word_embeddings": True,
        "n_routed_experts": 0, "first_k_dense_replace": 2, "rope_theta": 1600000.0,
    },
    # Sarvam: no q_lora, other names for experts and for YaRN.
    "sarvam-small": SMALL | {
        "model_type": "sarvam_mla", "architectures": ["SarvamMLAForCausalLM"], "q_lora_rank": None,
        "n_shared_experts": 2, "rope_scaling": yarn(40.0, 64, 1.0),
    },
    # GigaChat 3: V3's gate without q_lora, values wider than keys, an MTP layer.
    "gigachat3-small": SMALL | {
        "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "q_lora_rank": None, "v_head_dim": 96,
        "rope_theta": 100000.0, "rope_scaling": yarn(64.0, 64, 1.0), "num_nextn_predict_layers": 1,
    },
    # Kimi K2.5: K2 as the language model of a larger one.
    "kimi-k25-small": SMALL | {
        "model_type": "kimi_k2", "architectures": ["DeepseekV3ForCausalLM"], "q_lora_rank": 48,
        "routed_scaling_factor": 2.827, "rope_theta": 50000.0, "rope_scaling": yarn(64.0, 64, 1.0, beta_fast=32.0),
    },
    # MiniCPM3: dense, halves rotated, LongRoPE, scales of embedding, residual and logits, a tied head.
    "minicpm3-small": SMALL | {
        "model_type": "minicpm3", "architectures": ["MiniCPM3ForCausalLM"], "q_lora_rank": 48, "v_head_dim": 32,
        "tie_word_embeddings": True, "n_routed_experts": 0, "first_k_dense_replace": 2, "rms_norm_eps": 1e-5,
        "rope_interleave": False, "scale_emb": 12.0, "scale_depth": 1.4, "dim_model_base": 16,
        "max_position_embeddings": 2048, "rope_scaling": {
            "type": "longrope", "original_max_position_embeddings": 1024,
            "short_factor": [1 + 0.25 * i for i in range(16)], "long_factor": [1.5 + 0.75 * i for i in range(16)]},
    },
    # DeepSeek V3.2: V3 with an indexer, in every layer.
    "v32-small": SMALL | {
        "model_type": "deepseek_v32", "architectures": ["DeepseekV32ForCausalLM"], "q_lora_rank": 48, "n_group": 4,
        "topk_group": 2, "rope_scaling": yarn(40.0, 64, 1.0), "index_topk": 64, "index_n_heads": 4, "index_head_dim": 48,
        "layers_with_indexer": 2,
    },
    # GLM-5: another indexer, which the second layer lacks (it takes over the first one's choice), rope_parameters.
    "glm5-small": SMALL | {
        "model_type": "glm_moe_dsa", "architectures": ["GlmMoeDsaForCausalLM"], "q_lora_rank": 48, "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0, "index_topk": 64, "index_n_heads": 4, "index_head_dim": 48, "layers_with_indexer": 1,
        "num_nextn_predict_layers": 1,
    },
}
ABSENT_IN_TRANSFORMERS = {"scoring_func": None, "topk_method": None, "moe_layer_freq": None}
PUBLISHED = {
    "glm4-flash-small": ABSENT_IN_TRANSFORMERS | {
        "first_k_dense_replace": None, "mlp_layer_types": ["dense", "sparse"], "routed_scaling_factor": None,
        "rms_norm_eps": None, "rope_theta": None, "rope_scaling": None, "norm_topk_prob": None, "torch_dtype": None,
        "dtype": "bfloat16", "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}},
    "youtu-small": ABSENT_IN_TRANSFORMERS | dict.fromkeys([
        "n_routed_experts", "n_shared_experts", "moe_intermediate_size", "num_experts_per_tok", "n_group", "topk_group",
        "norm_topk_prob", "routed_scaling_factor", "first_k_dense_replace", "tie_word_embeddings"]),
    "sarvam-small": ABSENT_IN_TRANSFORMERS | {
        "q_lora_rank": None, "n_routed_experts": None, "num_experts": 8, "n_shared_experts": None, "num_shared_experts": 2,
        "n_group": None, "topk_group": None, "num_nextn_predict_layers": None, "head_dim": 96, "q_head_dim": 80,
        "rope_scaling": yarn(40.0, 64, 1.0) | {"type": "deepseek_yarn"}},
}
PUBLISHED["v32-small"] = {"layers_with_indexer": None}
PUBLISHED["glm5-small"] = ABSENT_IN_TRANSFORMERS | {
    "layers_with_indexer": None, "first_k_dense_replace": None, "mlp_layer_types": ["dense", "sparse"],
    "indexer_types": ["full", "shared"], "rms_norm_eps": None, "rope_theta": None, "rope_scaling": None,
    "norm_topk_prob": None, "routed_scaling_factor": None, "torch_dtype": None, "dtype": "bfloat16",
    "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}}
PUBLISHED["minicpm3-small"] = PUBLISHED["youtu-small"] | dict.fromkeys(["rope_interleave", "v_head_dim", "rope_theta"])
LANGUAGE_MODEL = "language_model."  # the prefix of nested models' tensors


def published(name, config):
    """The config.json that the publishers write."""
    said = PUBLISHED.get(name, {})
    out = {key: value for key, value in (config | said).items() if not (key in said and said[key] is None)}
    if name != "kimi-k25-small":
        return out
    return {"model_type": "kimi_k25", "architectures": ["KimiK25ForConditionalGeneration"], "bos_token_id": out.pop("bos_token_id"),
            "eos_token_id": out.pop("eos_token_id"), "text_config": out, "vision_config": {"hidden_size": 32}}


def layer_shapes(c, index):
    """name -> shape of one decoder layer; a rank-1 shape is a norm."""
    hidden, heads, rank = c["hidden_size"], c["num_attention_heads"], c["kv_lora_rank"]
    qk = c["qk_nope_head_dim"] + c["qk_rope_head_dim"]
    a = {"input_layernorm": [hidden], "post_attention_layernorm": [hidden], "self_attn.kv_a_layernorm": [rank],
         "self_attn.kv_a_proj_with_mqa": [rank + c["qk_rope_head_dim"], hidden],
         "self_attn.kv_b_proj": [heads * (c["qk_nope_head_dim"] + c["v_head_dim"]), rank],
         "self_attn.o_proj": [hidden, heads * c["v_head_dim"]]}
    if c["q_lora_rank"]:
        a |= {"self_attn.q_a_layernorm": [c["q_lora_rank"]], "self_attn.q_a_proj": [c["q_lora_rank"], hidden],
              "self_attn.q_b_proj": [heads * qk, c["q_lora_rank"]]}
    else:
        a |= {"self_attn.q_proj": [heads * qk, hidden]}

    if index < c.get("layers_with_indexer", 0):
        size = c["index_head_dim"]
        a |= {"self_attn.indexer.wq_b": [c["index_n_heads"] * size, c["q_lora_rank"]], "self_attn.indexer.wk": [size, hidden],
              "self_attn.indexer.k_norm": [size], "self_attn.indexer.weights_proj": [c["index_n_heads"], hidden]}

    def mlp(name, width):
        return {f"{name}.gate_proj": [width, hidden], f"{name}.up_proj": [width, hidden],
                f"{name}.down_proj": [hidden, width]}
    if index < c["first_k_dense_replace"]:
        a |= mlp("mlp", c["intermediate_size"])
    else:
        a |= {"mlp.gate": [c["n_routed_experts"], hidden]}
        for e in range(c["n_routed_experts"]):
            a |= mlp(f"mlp.experts.{e}", c["moe_intermediate_size"])
        a |= mlp("mlp.shared_experts", c["moe_intermediate_size"] * c["n_shared_experts"])
    return a


def all_shapes(c):
    layers, hidden, mtp = c["num_hidden_layers"], c["hidden_size"], c.get("num_nextn_predict_layers") or 0
    shapes = {"model.embed_tokens": [c["vocab_size"], hidden], "model.norm": [hidden]}
    if not c["tie_word_embeddings"]:
        shapes |= {"lm_head": [c["vocab_size"], hidden]}
    for index in range(layers + mtp):
        shapes |= {f"model.layers.{index}.{name}": shape for name, shape in layer_shapes(c, index).items()}
    for index in range(layers, layers + mtp):
        p = f"model.layers.{index}"
        shapes |= {p + ".enorm": [hidden], p + ".hnorm": [hidden], p + ".eh_proj": [hidden, 2 * hidden],
                   p + ".shared_head.norm": [hidden]}
    return shapes


def exponent(deviation, wanted):
    return int(round(np.log2(wanted / deviation)))


def recipe(c):
    """(name, form, exponent, shape) per tensor: activations stay near 1, attention chooses, every norm and bias matters."""
    lines = []
    fp8 = "quantization_config" in c
    for name, shape in all_shapes(c).items():
        if len(shape) == 1:
            lines.append((name + ".weight", "norm", -7, shape))
            if name.endswith(".k_norm"):  # a LayerNorm
                lines.append((name + ".bias", "norm", -7, shape))
            continue
        gain = 2.0 if "q_b_proj" in name or "q_proj" in name or name.endswith("mlp.gate") else 1.0
        wanted = gain / (1 if "embed" in name else np.sqrt(shape[1]))
        if fp8 and (".self_attn." in name or ".mlp." in name) and not name.endswith(".gate"):
            lines.append((name + ".weight", "codes", 0, shape))
            blocks = [-(-n // BLOCK) for n in shape]
            lines.append((name + ".weight_scale_inv", "scales", exponent(136 * 128, wanted), blocks))
        else:
            lines.append((name + ".weight", "weight", exponent(37, wanted), shape))
        if name.endswith("mlp.gate") and c["topk_method"] == "noaux_tc":
            lines.append((name + ".e_score_correction_bias", "bias", -10, shape[:1]))
    order = ["scales", "bias", "weight", "norm", "codes"]  # wide elements first: every tensor is aligned
    return sorted(lines, key=lambda line: order.index(line[1]))


def below(limit, stream, count):
    return (bits(stream, count) % limit).astype(np.int64)


# What a form's elements are, before the factor 2^exponent; exact in the type that stores them.
FORMS = {
    "weight": lambda stream, n: ("BF16", bell(stream, n) >> 2),  # -128 .. 127, deviation 37
    "norm": lambda stream, n: ("BF16", 77 + below(103, stream, n)),  # 0.60 .. 1.40 by 2^-7
    "bias": lambda stream, n: ("F32", below(410, stream, n) - 307),  # -0.30 .. 0.10 by 2^-10
    "scales": lambda stream, n: ("F32", 96 + below(64, stream, n)),
    # e4m3 of 1 .. 448, deviation 136, of both signs.
    "codes": lambda stream, n: ("F8_E4M3", 56 + below(71, stream, n) + 128 * (bits(stream, n) >> 63).astype(np.int64)),
}


def read_recipe(path):
    """(attempt, lines) of a tensors.txt, as draw() takes them."""
    attempt, *lines = path.read_text().splitlines()
    fields = (line.split() for line in lines)
    return int(attempt), [(name, form, int(power), list(map(int, shape))) for name, form, power, *shape in fields]


def draw(lines, attempt):
    tensors = {}
    for i, (name, form, power, shape) in enumerate(lines):
        stored, values = FORMS[form]((attempt << 16) + i, int(np.prod(shape)))
        values = values.reshape(shape)
        if stored == "F8_E4M3":
            tensors[name] = (stored, values.astype(np.uint8))
        else:
            scaled = (values * 2.0**power).astype(np.float32)
            tensors[name] = (stored, to_bf16(scaled)) if stored == "BF16" else scaled
    return tensors


class MarginModel(Model):
    """Notes how close the nearest rejected expert or group came to a chosen one."""
    margin = np.inf

    def route(self, h, p):
        weights, c = super().route(h, p), self.config
        scores = h @ self.w(p + ".weight").T
        scores = 1 / (1 + np.exp(-scores)) if c["scoring_func"] == "sigmoid" else np.exp(scores)
        if c["scoring_func"] == "softmax":
            scores = scores / scores.sum(axis=-1, keepdims=True)
        noaux = c["topk_method"] == "noaux_tc"
        ranked = scores + self.w(p + ".e_score_correction_bias") if noaux else scores
        if c["n_group"] > 1:
            groups = ranked.reshape(len(h), c["n_group"], -1)
            best = np.sort(groups, axis=-1)[..., -2 if noaux else -1:].sum(axis=-1)
            self._note(best, c["topk_group"])
            ranked = np.where(keep_largest(best, c["topk_group"])[..., None], groups, -np.inf).reshape(ranked.shape)
        self._note(ranked, c["num_experts_per_tok"])
        return weights

    def _note(self, ranked, count):
        ordered = -np.sort(-ranked, axis=-1)
        self.margin = min(self.margin, (ordered[:, count - 1] - ordered[:, count]).min())


def make(name, config, out, attempt=0):
    lines, folder = recipe(config), out / name
    lengths = LENGTHS if config["vocab_size"] == COMMON["vocab_size"] else FEW_LENGTHS
    prefix = LANGUAGE_MODEL if "text_config" in published(name, config) else ""
    rng = np.random.default_rng([list(MODELS).index(name), attempt])
    golden = {}
    with tempfile.TemporaryDirectory() as whole:
        (Path(whole) / "config.json").write_text(json.dumps(config))
        write(Path(whole) / "model.safetensors", draw(lines, attempt))
        model = MarginModel(whole)
        for n, length in enumerate(lengths):
            ids = rng.integers(2, config["vocab_size"], length)
            logits, mtp = model.logits(ids, length)
            golden |= {f"{n}.ids": ids.astype(np.int64), f"{n}.logits": logits.astype(np.float32)}
            if mtp is not None:
                golden[f"{n}.mtp"] = mtp.astype(np.float32)
    if model.margin < SMALLEST_MARGIN:
        return make(name, config, out, attempt + 1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(published(name, config), indent=2) + "\n")
    if prefix:
        lines = lines + [("vision_tower.norm.weight", "norm", -7, [32])]  # drawn last: it changes no other
    text = [f"{'' if tensor.startswith('vision') else prefix}{tensor} {form} {power} {' '.join(map(str, shape))}\n"
            for tensor, form, power, shape in lines]
    (folder / "tensors.txt").write_text(f"{attempt}\n{''.join(text)}")
    write(out / f"{name}.golden.safetensors", golden)
    spread = golden[f"{len(lengths) - 1}.logits"].std()
    print(f"{name}: attempt {attempt}, margin of the routing {model.margin:.2g}, logits' deviation {spread:.2f}")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "tests" / "data" / "golden"
    for model_name in sys.argv[2:] or MODELS:
        make(model_name, MODELS[model_name], target)
