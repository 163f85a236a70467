"""The forward pass of DeepSeek V2 / V3, Kimi K2 and MiniCPM3 in numpy, expanded attention, driven by config.json. Of sparse
attention (V3.2, GLM-5) what contexts up to index_topk have: dense attention.

Slow and plain: it is what the C++ model is compared with. Names are those of the checkpoint and of the glossary.
Sources: DeepSeek-V2 report 2.1 (MLA), DeepSeek-V3 report 2.1.2 (routing) and 2.2 (MTP), Peng et al. "YaRN", 2023,
Ding et al. "LongRoPE", 2024, MiniCPM report (2024) 3 (the three scales), and the models' classes in transformers 5.24.

usage: deepseek.py MODEL_DIR GOLDEN.safetensors      compares with N.logits and N.mtp of that file
"""
import json
import math
import sys
from pathlib import Path

import numpy as np
from tensors import Checkpoint

# The published modeling code gives rms_norm_eps to every norm but the two of the latents, which keep their class's default.
LATENT_NORM_EPS = 1e-6


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def yarn_mscale(factor, mscale):
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def keep_largest(scores, count):
    """True at the `count` largest entries of each row; of equal ones the first."""
    order = np.argsort(-scores, axis=-1, kind="stable")[..., :count]
    mask = np.zeros(scores.shape, bool)
    np.put_along_axis(mask, order, True, axis=-1)
    return mask


class Rope:
    """Rotary embedding of pairs (x0, x1), (x2, x3), ... or, without rope_interleave, of (x0, x[dim/2]), ...; YaRN or
    LongRoPE if the config asks for it."""

    def __init__(self, config):
        dim, theta = config["qk_rope_head_dim"], config.get("rope_theta", 10000.0)
        self.factor, self.softmax_factor = 1.0, 1.0
        self.inverse_frequency = theta ** (-np.arange(0, dim, 2) / dim)
        scaling = config.get("rope_scaling")
        kind = scaling and scaling.get("type", scaling.get("rope_type"))
        if kind == "yarn":
            self._yarn(scaling, dim, theta)
        if kind == "longrope":
            original = scaling["original_max_position_embeddings"]
            self.inverse_frequency = self.inverse_frequency / np.array(scaling["short_factor"])
            self.factor = math.sqrt(1 + math.log(max(config["max_position_embeddings"] / original, 1)) / math.log(original))
        half = dim // 2
        self.first, self.second = (slice(0, None, 2), slice(1, None, 2)) if config.get("rope_interleave", True) else (
            slice(0, half), slice(half, None))

    def _yarn(self, scaling, dim, theta):
        factor, original = scaling["factor"], scaling["original_max_position_embeddings"]

        def pair_of(rotations):  # the pair that turns this often over the original length
            return dim * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))
        low = max(math.floor(pair_of(scaling.get("beta_fast", 32))), 0)
        high = min(math.ceil(pair_of(scaling.get("beta_slow", 1))), dim - 1)
        span = high - low if high != low else 0.001
        ramp = np.clip((np.arange(dim // 2) - low) / span, 0, 1)  # 0: as trained, 1: stretched
        self.inverse_frequency = self.inverse_frequency * (1 - ramp) + self.inverse_frequency / factor * ramp
        all_dim = scaling.get("mscale_all_dim", 0)
        self.factor = yarn_mscale(factor, scaling.get("mscale", 1)) / yarn_mscale(factor, all_dim)
        self.softmax_factor = yarn_mscale(factor, all_dim) ** 2 if all_dim else 1.0

    def __call__(self, x, positions):  # x [T, ..., dim]
        angle = positions.reshape(-1, *[1] * (x.ndim - 1)) * self.inverse_frequency
        cos, sin = np.cos(angle) * self.factor, np.sin(angle) * self.factor
        a, b = x[..., self.first], x[..., self.second]
        out = np.empty_like(x)
        out[..., self.first], out[..., self.second] = a * cos - b * sin, a * sin + b * cos
        return out


class Model:
    """round_latent(c_kv, k_pe) -> (c_kv, k_pe) is applied to what a cache would hold (identity by default)."""

    def __init__(self, directory, dtype=np.float64, round_latent=lambda c_kv, k_pe: (c_kv, k_pe)):
        self.config = json.loads((Path(directory) / "config.json").read_text())
        self.weights = Checkpoint(directory, dtype)
        self.rope = Rope(self.config)
        self.eps = self.config["rms_norm_eps"]
        self.round_latent = round_latent
        depth = self.config.get("scale_depth")
        self.residual_scale = depth / math.sqrt(self.config["num_hidden_layers"]) if depth else 1.0
        self.logits_scaling = self.config["hidden_size"] / (self.config.get("dim_model_base") or self.config["hidden_size"])
        self.cached = {}

    def w(self, name):
        if name not in self.cached:
            self.cached[name] = self.weights[name]
        return self.cached[name]

    def linear(self, x, name):
        return x @ self.w(name + ".weight").T

    def norm(self, x, name):
        return rms_norm(x, self.w(name + ".weight"), self.eps)

    def latent_norm(self, x, name):
        return rms_norm(x, self.w(name + ".weight"), LATENT_NORM_EPS)

    def attention(self, h, p, positions):
        c, tokens = self.config, len(h)
        heads, nope, rope, v_dim = (c[k] for k in ("num_attention_heads", "qk_nope_head_dim", "qk_rope_head_dim",
                                                   "v_head_dim"))
        if c.get("q_lora_rank"):
            c_q = self.latent_norm(self.linear(h, p + ".q_a_proj"), p + ".q_a_layernorm")
            q = self.linear(c_q, p + ".q_b_proj")
        else:
            q = self.linear(h, p + ".q_proj")
        q = q.reshape(tokens, heads, nope + rope)
        q_nope, q_pe = q[..., :nope], self.rope(q[..., nope:], positions)
        kv = self.linear(h, p + ".kv_a_proj_with_mqa")
        c_kv = self.latent_norm(kv[:, :c["kv_lora_rank"]], p + ".kv_a_layernorm")
        c_kv, k_pe = self.round_latent(c_kv, self.rope(kv[:, c["kv_lora_rank"]:], positions))
        expanded = self.linear(c_kv, p + ".kv_b_proj").reshape(tokens, heads, nope + v_dim)

        scale = (nope + rope) ** -0.5 * self.rope.softmax_factor
        future = np.triu(np.ones((tokens, tokens), bool), 1)
        out = np.empty((tokens, heads, v_dim), h.dtype)
        for head in range(heads):
            scores = (q_nope[:, head] @ expanded[:, head, :nope].T + q_pe[:, head] @ k_pe.T) * scale
            scores[future] = -np.inf
            out[:, head] = softmax(scores) @ expanded[:, head, nope:]
        return self.linear(out.reshape(tokens, -1), p + ".o_proj")

    def mlp(self, h, p):
        return self.linear(silu(self.linear(h, p + ".gate_proj")) * self.linear(h, p + ".up_proj"), p + ".down_proj")

    def route(self, h, p):
        """Weights [T, n_routed_experts], zero where an expert is not chosen."""
        c = self.config
        logits = h @ self.w(p + ".weight").T
        scores = 1 / (1 + np.exp(-logits)) if c.get("scoring_func") == "sigmoid" else softmax(logits)
        method, ranked = c.get("topk_method", "greedy"), scores
        if method == "noaux_tc":
            ranked = scores + self.w(p + ".e_score_correction_bias")
        if method != "greedy" and c.get("n_group", 1) > 1:
            groups = ranked.reshape(len(h), c["n_group"], -1)
            best = np.sort(groups, axis=-1)[..., -(2 if method == "noaux_tc" else 1):].sum(axis=-1)
            ranked = np.where(keep_largest(best, c["topk_group"])[..., None], groups, -np.inf).reshape(scores.shape)
        weights = np.where(keep_largest(ranked, c["num_experts_per_tok"]), scores, 0)
        if c.get("norm_topk_prob"):
            weights = weights / (weights.sum(axis=-1, keepdims=True) + 1e-20)
        return weights * c.get("routed_scaling_factor", 1.0)

    def moe(self, h, p):
        weights, out = self.route(h, p + ".gate"), np.zeros_like(h)
        for e in range(self.config["n_routed_experts"]):
            chosen = np.flatnonzero(weights[:, e])
            if len(chosen):
                out[chosen] += weights[chosen, e, None] * self.mlp(h[chosen], f"{p}.experts.{e}")
        return out + self.mlp(h, p + ".shared_experts") if self.config.get("n_shared_experts") else out

    def layer(self, x, index, positions):
        c, p = self.config, f"model.layers.{index}"
        x = x + self.residual_scale * self.attention(self.norm(x, p + ".input_layernorm"), p + ".self_attn", positions)
        h = self.norm(x, p + ".post_attention_layernorm")
        sparse = (c.get("n_routed_experts") and index >= c.get("first_k_dense_replace", 0)
                  and index % c.get("moe_layer_freq", 1) == 0)
        return x + self.residual_scale * (self.moe if sparse else self.mlp)(h, p + ".mlp")

    def head(self):
        return self.w("model.embed_tokens.weight" if self.config.get("tie_word_embeddings") else "lm_head.weight")

    def hidden(self, ids):
        """The hidden state after the final norm, [S, hidden_size]."""
        x = self.w("model.embed_tokens.weight")[ids] * self.config.get("scale_emb", 1)
        for index in range(self.config["num_hidden_layers"]):
            x = self.layer(x, index, np.arange(len(ids)))
        return self.norm(x, "model.norm")

    def mtp_hidden(self, ids, hidden):
        """[S-1, hidden_size]; row i comes from hidden[i] and the embedding of ids[i+1]."""
        index = self.config["num_hidden_layers"]
        p = f"model.layers.{index}"
        shared = p + ".embed_tokens.weight"
        table = self.w(shared if shared in self.weights else "model.embed_tokens.weight")
        joined = np.concatenate([self.norm(table[ids[1:]], p + ".enorm"), self.norm(hidden[:-1], p + ".hnorm")], axis=-1)
        x = self.layer(self.linear(joined, p + ".eh_proj"), index, np.arange(len(ids) - 1))
        return self.norm(x, p + ".shared_head.norm")

    def mtp_head(self):
        own = f"model.layers.{self.config['num_hidden_layers']}.shared_head.head.weight"
        return self.w(own) if own in self.weights else self.head()

    def logits(self, ids, last):
        """(logits of the last `last` positions, MTP logits of the positions before the last one or None)."""
        hidden = self.hidden(ids)
        logits = hidden[-last:] @ self.head().T / self.logits_scaling
        if not self.config.get("num_nextn_predict_layers") or len(ids) < 2:
            return logits, None
        return logits, self.mtp_hidden(ids, hidden)[-(last - 1):] @ self.mtp_head().T


def compare(model, golden):
    worst = [0.0, 0.0]
    count = sum(name.endswith(".ids") for name in golden.where)
    for n in range(count):
        ids, want = golden[f"{n}.ids"], golden[f"{n}.logits"]
        logits, mtp = model.logits(ids, len(want))
        found = [np.abs(logits - want).max(), 0.0]
        if mtp is not None and f"{n}.mtp" in golden:
            found[1] = np.abs(mtp - golden[f"{n}.mtp"]).max()
        print(f"prompt {n}: {len(ids)} tokens, largest difference {found[0]:.3g}, of MTP {found[1]:.3g}", flush=True)
        worst = [max(a, b) for a, b in zip(worst, found)]
    print(f"all prompts: logits {worst[0]:.3g}, MTP {worst[1]:.3g}")
    return worst


def open_golden(path):
    golden = Checkpoint("/nonexistent")
    golden._index(Path(path))
    return golden


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    difference = compare(Model(sys.argv[1]), open_golden(sys.argv[2]))
    sys.exit(bool(max(difference) > 1e-3))
