"""What a dump of GPT-2 is: the model's sizes, its weights, the stages and their shapes, left-out rules.

The standard library alone, so that scripts plan with what the exporters write by.

Dimensions: B batch, T new positions in this step, P positions already in the cache, S = P+T,
C n_embd, H n_head, D = C/H, F n_inner, V vocab_size.
"""

import hashlib
import json
import math
import os
import re
from dataclasses import dataclass, field


MASK_BUFFER = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")  # causal masks, not weights
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2, "BOOL": 1, "U8": 1}  # bytes an element; the last two only in mask buffers


class Refused(Exception):
    """Bad input: one clear line on stderr and exit status 2."""


@dataclass(frozen=True)
class Config:
    """The sizes in config.json; raw is the whole of it, for the manifest."""

    layers: int
    heads: int
    embd: int
    inner: int
    vocab: int
    positions: int
    eps: float
    raw: dict = field(repr=False)

    @property
    def head_dim(self):
        return self.embd // self.heads


def read_config(folder):
    """Parses folder/config.json; Refused if it is no GPT-2 that the exporters compute."""
    path = os.path.join(folder, "config.json")
    try:
        with open(path, encoding="utf-8") as f:
            raw = json.load(f)
    except OSError as e:
        raise Refused(f"{path}: {e.strerror}: want a folder with config.json and model.safetensors") from e
    except ValueError as e:
        raise Refused(f"{path}: not JSON: {e}") from e
    if not isinstance(raw, dict):
        raise Refused(f"{path}: want a JSON object")

    def size(key, default=None):
        value = raw.get(key)
        value = default if value is None else value
        if type(value) is not int or value < 1:
            raise Refused(f"{path}: {key} is {value!r}, want a positive integer")
        return value

    # A setting that changes the function is refused unless it has GPT-2's value.
    for key, want in {"model_type": "gpt2", "activation_function": "gelu_new", "scale_attn_weights": True,
                      "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}.items():
        if raw.get(key, want) != want:
            raise Refused(f"{path}: {key} is {raw[key]!r}, want {want!r}")
    embd = size("n_embd")
    config = Config(layers=size("n_layer"), heads=size("n_head"), embd=embd, inner=size("n_inner", 4 * embd),
                    vocab=size("vocab_size"), positions=size("n_positions", raw.get("n_ctx")),
                    eps=raw.get("layer_norm_epsilon", 1e-5), raw=raw)
    if embd % config.heads:
        raise Refused(f"{path}: n_embd {embd} is no multiple of n_head {config.heads}")
    if not isinstance(config.eps, float) or not 0 < config.eps < 1:
        raise Refused(f"{path}: layer_norm_epsilon is {config.eps!r}, want a number between 0 and 1")
    return config


def stages(config, temperatures):
    """Names of the stages of one step, in execution order."""
    block = ("ln_1 attn.c_attn attn.q attn.k attn.v attn.cache_k attn.cache_v attn.scores attn.probs attn.context "
             "attn.c_proj resid_mid ln_2 mlp.c_fc mlp.act mlp.c_proj resid_post").split()
    return (["wte", "wpe", "embed"] + [f"h.{n}.{s}" for n in range(config.layers) for s in block]
            + ["ln_f", "logits", "logits_last", "next_token"]
            + [f"probs_t{t:g}" for t in temperatures])


def checkpoint(stage):
    """The checkpoint that judges a stage; 0 for the embeddings, which none does."""
    if not stage.startswith("h."):
        return {"ln_f": 8, "logits": 8, "logits_last": 9, "next_token": 10}.get(stage, 11 if stage.startswith("probs_t") else 0)
    layer, word = stage.split(".", 2)[1:]
    if word.startswith("resid_"):
        return 7 if layer == "0" else 8
    return {"ln_1": 1, "attn.c_attn": 2, "attn.q": 2, "attn.k": 2, "attn.v": 2, "attn.cache_k": 3, "attn.cache_v": 3,
            "attn.scores": 4, "attn.probs": 5, "attn.context": 5, "attn.c_proj": 5}.get(word, 6)


def shape_of(stage, config, b, t, p):
    """Shape of a stage's value for batch b, t new positions and p positions in the cache before them."""
    c, h, d, s = config.embd, config.heads, config.head_dim, p + t
    if stage.startswith("probs_t"):
        return (b, config.vocab)
    last = stage.split(".", 2)[2] if stage.startswith("h.") else stage
    return {"wpe": (t, c), "attn.c_attn": (b, t, 3 * c),
            "attn.q": (b, h, t, d), "attn.k": (b, h, t, d), "attn.v": (b, h, t, d),
            "attn.cache_k": (b, h, s, d), "attn.cache_v": (b, h, s, d),
            "attn.scores": (b, h, t, s), "attn.probs": (b, h, t, s),
            "mlp.c_fc": (b, t, config.inner), "mlp.act": (b, t, config.inner),
            "logits": (b, t, config.vocab), "logits_last": (b, config.vocab), "next_token": (b,),
            }.get(last, (b, t, c))


def weight_shapes(config):
    """name -> shape of every weight, names without the transformer. prefix; lm_head.weight is optional."""
    c, f = config.embd, config.inner
    block = {"ln_1.weight": (c,), "ln_1.bias": (c,), "attn.c_attn.weight": (c, 3 * c), "attn.c_attn.bias": (3 * c,),
             "attn.c_proj.weight": (c, c), "attn.c_proj.bias": (c,), "ln_2.weight": (c,), "ln_2.bias": (c,),
             "mlp.c_fc.weight": (c, f), "mlp.c_fc.bias": (f,), "mlp.c_proj.weight": (f, c), "mlp.c_proj.bias": (c,)}
    return {"wte.weight": (config.vocab, c), "wpe.weight": (config.positions, c),
            **{f"h.{n}.{name}": shape for n in range(config.layers) for name, shape in block.items()},
            "ln_f.weight": (c,), "ln_f.bias": (c,), "lm_head.weight": (config.vocab, c)}


def weight_files(folder):
    """Paths of the safetensors files: model.safetensors, or the shards that its index names."""
    single = os.path.join(folder, "model.safetensors")
    index = single + ".index.json"
    if os.path.exists(single):
        return [single]
    if not os.path.exists(index):
        raise Refused(f"{single}: no such file; weights are read as safetensors alone")
    try:
        with open(index, encoding="utf-8") as f:
            names = sorted(set(json.load(f)["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise Refused(f"{index}: no index of safetensors files: {e!r}") from e
    for name in names:
        if name != os.path.basename(name) or not os.path.exists(os.path.join(folder, name)):
            raise Refused(f"{index}: names {name}, which is not in the folder")
    return [os.path.join(folder, name) for name in names]


def check_safetensors(path):
    """Refused unless the file is as long as its header says: engines trust the header."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        length = int.from_bytes(f.read(8), "little")
        if not 2 <= length <= min(size - 8, 100 << 20):
            raise Refused(f"{path}: not a safetensors file: it has {size} bytes and a header of {length}")
        text = f.read(length)
    try:
        entries = {name: entry for name, entry in json.loads(text).items() if name != "__metadata__"}
        for name, entry in entries.items():
            (first, end), dtype = entry["data_offsets"], entry["dtype"]
            if dtype not in WIDTHS:
                raise Refused(f"{path}: {name} is {dtype}, want one of {', '.join(WIDTHS)}")
            if not 0 <= first <= end or end - first != WIDTHS[dtype] * math.prod(entry["shape"]):
                raise Refused(f"{path}: {name}: {entry['shape']} of {dtype} does not fit bytes {first} to {end}")
            if 8 + length + end > size:
                raise Refused(f"{path}: cut short: {name} ends at byte {8 + length + end} of {size}")
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise Refused(f"{path}: its safetensors header cannot be read: {e!r}") from e


def check_weight(path, name, shape, shapes, again):
    """Refused if a weight found in path is not GPT-2's, has another shape, or was there before."""
    key = name.removeprefix("transformer.")
    if key not in shapes:
        raise Refused(f"{path}: {name} is no weight of this GPT-2")
    if tuple(shape) != shapes[key]:
        raise Refused(f"{path}: {name} has shape {list(shape)}, want {list(shapes[key])} by config.json")
    if again:
        raise Refused(f"{path}: {name} is there twice, with and without the transformer. prefix or in two files")


def check_complete(folder, shapes, weights):
    """Refused if a weight is missing; lm_head.weight may be."""
    missing = [name for name in shapes if name not in weights and name != "lm_head.weight"]
    if missing:
        raise Refused(f"{folder}: {missing[0]} is missing" + (f", and {len(missing) - 1} more" if missing[1:] else ""))


def weights_sha256(paths):
    """SHA-256 of the safetensors file; of several, of the sorted lines `sha256  name`, as sha256sum prints them."""
    sums = {os.path.basename(path): sha256_file(path) for path in paths}
    if len(sums) == 1:
        return next(iter(sums.values()))
    lines = sorted(f"{digest}  {name}\n" for name, digest in sums.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sha256_file(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


@dataclass(frozen=True)
class Rule:
    """A left-out rule: stages (a pattern, * for any characters), steps ("all", "0", "1-", "1-8", "2,5"), reason."""

    stages: str
    steps: str
    reason: str

    @classmethod
    def parse(cls, raw, where="rule"):
        if not isinstance(raw, dict) or sorted(raw) != ["reason", "stages", "steps"] \
                or not all(isinstance(v, str) and v for v in raw.values()):
            raise Refused(f'{where}: {json.dumps(raw)}: want {{"stages": …, "steps": …, "reason": …}}, each a text')
        if raw["steps"] != "all" and not re.fullmatch(r"\d+(-\d*)?(,\d+(-\d*)?)*", raw["steps"]):
            raise Refused(f'{where}: steps {raw["steps"]!r}: want "all" or a list like "0", "1-", "1-8", "2,5"')
        for first, _, last in (part.partition("-") for part in raw["steps"].split(",") if raw["steps"] != "all"):
            if last and int(last) < int(first):
                raise Refused(f"{where}: steps {raw['steps']!r}: {first} comes after {last}")
        return cls(**raw)

    def matches(self, step, stage):
        return self.has_step(step) and match(self.stages, stage)

    def has_step(self, step):
        if self.steps == "all":
            return True
        for part in self.steps.split(","):
            first, dash, last = part.partition("-")
            if int(first) <= step and (step <= int(last) if last else dash or step == int(first)):
                return True
        return False


def match(pattern, stage):
    """fnmatch with * alone: any characters, dots included."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), stage) is not None
