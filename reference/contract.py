"""The form of a dump of GPT-2: the model's sizes, its weights, the stages and their shapes, left-out rules.

The standard library alone, so that scripts plan by the same rules that the exporters write by.

Dimensions: B batch, T new positions in this step, P positions already in the cache, S = P+T,
C n_embd, H n_head, D = C/H, F n_inner, V vocab_size.
"""

import hashlib
import json
import math
import os
import re
from dataclasses import dataclass, field


# Name (h.* is each block's, probs_t* each temperature's), shape, and the checkpoint that judges it, 0 for none; resid_* of
# block 0 are checkpoint 7's. In execution order.
STAGES = [
    ("wte", "B T C", 0),
    ("wpe", "T C", 0),
    ("embed", "B T C", 0),
    ("h.*.ln_1", "B T C", 1),
    ("h.*.attn.c_attn", "B T 3C", 2),
    ("h.*.attn.q", "B H T D", 2),
    ("h.*.attn.k", "B H T D", 2),
    ("h.*.attn.v", "B H T D", 2),
    ("h.*.attn.cache_k", "B H S D", 3),
    ("h.*.attn.cache_v", "B H S D", 3),
    ("h.*.attn.scores", "B H T S", 4),
    ("h.*.attn.probs", "B H T S", 5),
    ("h.*.attn.context", "B T C", 5),
    ("h.*.attn.c_proj", "B T C", 5),
    ("h.*.resid_mid", "B T C", 8),
    ("h.*.ln_2", "B T C", 6),
    ("h.*.mlp.c_fc", "B T F", 6),
    ("h.*.mlp.act", "B T F", 6),
    ("h.*.mlp.c_proj", "B T C", 6),
    ("h.*.resid_post", "B T C", 8),
    ("ln_f", "B T C", 8),
    ("logits", "B T V", 8),
    ("logits_last", "B V", 9),
    ("next_token", "B", 10),
    ("probs_t*", "B V", 11),
]
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}  # bytes an element of a weight
MASK_WIDTHS = {"BOOL": 1, "U8": 1}  # and of a causal mask, which is no weight
MASK_BUFFER = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)")


# What activation_function may be: the usual name of each function, and its other names. They are those of Hugging Face.
ACTIVATIONS = {
    "gelu_new": ("gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"), "gelu": ("gelu_python",), "gelu_10": (),
    "quick_gelu": (), "silu": ("swish",), "mish": (), "relu": (), "relu6": (), "relu2": (), "leaky_relu": (), "hardswish": (),
    "tanh": (), "sigmoid": (), "laplace": (), "sqrtsoftplus": (), "linear": ()}
USUAL = {name: usual for usual, others in ACTIVATIONS.items() for name in (usual, *others)}
# Settings that change the function and must have one value, if they are given.
ONLY = {"model_type": "gpt2", "add_cross_attention": False, "is_encoder_decoder": False, "is_causal": True, "pruned_heads": {},
        "quantization_config": None, "compression_config": None, "auto_map": {}}


class Refused(Exception):
    """Bad input: one clear line on stderr and exit status 2."""


@dataclass(frozen=True)
class Config:
    """What config.json says; raw is the whole of it, for the manifest."""

    layers: int
    heads: int
    embd: int
    inner: int
    vocab: int
    positions: int
    eps: float
    raw: dict = field(repr=False)
    activation: str = "gelu_new"  # a key of ACTIVATIONS
    scaled: bool = True  # scores are divided by the root of D (scale_attn_weights)
    by_layer: bool = False  # those of layer n are divided by n+1 (scale_attn_by_inverse_layer_idx)
    tied: bool | None = None  # tie_word_embeddings; None, not said, is as lm_head.weight is there or not

    @property
    def head_dim(self):
        return self.embd // self.heads

    def divisor(self, layer):
        """What q·k is divided by in a layer."""
        return (math.sqrt(self.head_dim) if self.scaled else 1.0) * (layer + 1 if self.by_layer else 1)


def read_json(path, kind, want):
    """The value in a JSON file. Refused unless it is of that kind; want describes it for the message."""
    try:
        with open(path, encoding="utf-8") as f:
            value = json.load(f)
    except OSError as e:
        raise Refused(f"{path}: {e.strerror}: want {want}") from e
    except ValueError as e:
        raise Refused(f"{path}: not JSON: {e}") from e
    if not isinstance(value, kind):
        raise Refused(f"{path}: want {want}")
    return value


def read_config(folder):
    """The Config of folder/config.json; Refused if it is no GPT-2 that the exporters compute."""
    path = os.path.join(folder, "config.json")
    raw = read_json(path, dict, "a JSON object, beside the model.safetensors of a model")
    given = {key: value for key, value in raw.items() if value is not None}

    def size(key, alias=None, default=None):
        if alias in given:  # Hugging Face's other name for it
            if given.get(key, given[alias]) != given[alias]:
                raise Refused(f"{path}: {key} is {given[key]!r} and {alias}, which is another name for it, {given[alias]!r}")
            key = alias
        value = given.get(key, default)
        if type(value) is not int or value < 1:
            raise Refused(f"{path}: {key} is {value!r}, want a positive integer")
        return value

    def flag(key, default):
        value = given.get(key, default)
        if value is not None and type(value) is not bool:
            raise Refused(f"{path}: {key} is {value!r}, want true or false")
        return value

    for key, want in ONLY.items():
        if key in given and (type(given[key]), given[key]) != (type(want), want):
            raise Refused(f"{path}: {key} is {given[key]!r}, want {want!r}, as in GPT-2 as released")
    activation = given.get("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in USUAL:
        raise Refused(f"{path}: activation_function is {activation!r}: want one of {', '.join(USUAL)}")
    flag("reorder_and_upcast_attn", False)  # of engines in less than float32 alone
    embd = size("n_embd", "hidden_size")
    config = Config(layers=size("n_layer", "num_hidden_layers"), heads=size("n_head", "num_attention_heads"), embd=embd,
                    inner=size("n_inner", default=4 * embd), vocab=size("vocab_size"),
                    positions=size("n_positions", "max_position_embeddings", given.get("n_ctx")),
                    eps=given.get("layer_norm_epsilon", 1e-5), raw=raw, activation=USUAL[activation],
                    scaled=flag("scale_attn_weights", True), by_layer=flag("scale_attn_by_inverse_layer_idx", False),
                    tied=flag("tie_word_embeddings", None))
    if embd % config.heads:
        raise Refused(f"{path}: n_embd {embd} is no multiple of n_head {config.heads}")
    if not isinstance(config.eps, float) or not 0 < config.eps < 1:
        raise Refused(f"{path}: layer_norm_epsilon is {config.eps!r}, want a number between 0 and 1")
    return config


def stages(config, temperatures):
    """Names of the stages of one step, in execution order."""
    names = [name for name, _, _ in STAGES]
    first, last = names.index("h.*.ln_1"), names.index("ln_f")
    blocks = [name.replace("*", str(n)) for n in range(config.layers) for name in names[first:last]]
    return names[:first] + blocks + names[last:-1] + [f"probs_t{t:g}" for t in temperatures]


def kind(stage):
    """A stage's name without its layer: h.*.ln_1 of h.3.ln_1."""
    return re.sub(r"^h\.\d+\.", "h.*.", stage)


def row(stage):
    """The row of STAGES for a stage's name."""
    name = "probs_t*" if stage.startswith("probs_t") else kind(stage)
    return next(row for row in STAGES if row[0] == name)


def checkpoint(stage):
    """The checkpoint that judges a stage; 0 for the embeddings, which none does."""
    return 7 if stage.startswith("h.0.resid_") else row(stage)[2]


def shape_of(stage, config, b, t, p):
    """Shape of a stage's value for batch b, t new positions and p positions in the cache before them."""
    c = config.embd
    sizes = {"B": b, "T": t, "S": p + t, "C": c, "3C": 3 * c, "H": config.heads, "D": config.head_dim,
             "F": config.inner, "V": config.vocab}
    return tuple(sizes[axis] for axis in row(stage)[1].split())


def weight_shapes(config):
    """name -> shape of every weight, names without the transformer. prefix; those of lm_head are optional."""
    c, f = config.embd, config.inner
    block = {"ln_1.weight": (c,), "ln_1.bias": (c,), "attn.c_attn.weight": (c, 3 * c), "attn.c_attn.bias": (3 * c,),
             "attn.c_proj.weight": (c, c), "attn.c_proj.bias": (c,), "ln_2.weight": (c,), "ln_2.bias": (c,),
             "mlp.c_fc.weight": (c, f), "mlp.c_fc.bias": (f,), "mlp.c_proj.weight": (f, c), "mlp.c_proj.bias": (c,)}
    return {"wte.weight": (config.vocab, c), "wpe.weight": (config.positions, c),
            **{f"h.{n}.{name}": shape for n in range(config.layers) for name, shape in block.items()},
            "ln_f.weight": (c,), "ln_f.bias": (c,), "lm_head.weight": (config.vocab, c), "lm_head.bias": (config.vocab,)}


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


@dataclass(frozen=True)
class Weight:
    """Where a weight lies: its file and its name there, type, shape, and its first byte in the file."""

    path: str
    name: str
    dtype: str
    shape: tuple
    offset: int


def find_weights(folder, config):
    """name -> Weight of all that the model has, names without transformer.; those of lm_head only if they are there.

    Refused if one is missing, of another shape or there twice, if a tensor is neither a weight nor a causal mask, and if
    lm_head.weight is not as tie_word_embeddings says."""
    shapes, found = weight_shapes(config), {}
    for path in weight_files(folder):
        for weight in read_header(path):
            name = weight.name.removeprefix("transformer.")
            if MASK_BUFFER.fullmatch(name):
                continue
            if name not in shapes:
                raise Refused(f"{path}: {weight.name} is no weight of this GPT-2")
            if weight.dtype not in WIDTHS:
                raise Refused(f"{path}: {weight.name} is {weight.dtype}, want one of {', '.join(WIDTHS)}")
            if weight.shape != shapes[name]:
                raise Refused(f"{path}: {weight.name} has shape {list(weight.shape)}, want {list(shapes[name])} by config.json")
            if name in found:
                raise Refused(f"{path}: {weight.name} is there twice, with and without the transformer. prefix or in two files")
            found[name] = weight
    missing = [name for name in shapes if name not in found and not name.startswith("lm_head.")]
    if missing:
        raise Refused(f"{folder}: {missing[0]} is missing" + (f", and {len(missing) - 1} more" if missing[1:] else ""))
    head = found.get("lm_head.weight")
    if config.tied is False and head is None:
        raise Refused(f"{folder}: lm_head.weight is missing: tie_word_embeddings is false in config.json")
    if config.tied and head is not None and not same_bytes(head, found["wte.weight"]):
        raise Refused(f"{head.path}: lm_head.weight is not wte.weight, and tie_word_embeddings is true in config.json: "
                      "engines differ in which they take; make it false for lm_head.weight, or leave that out")
    return found


def same_bytes(a, b):
    """Reports whether two weights of one shape are stored alike."""
    left = WIDTHS[a.dtype] * math.prod(a.shape)
    with open(a.path, "rb") as f, open(b.path, "rb") as g:
        f.seek(a.offset)
        g.seek(b.offset)
        while left > 0 and a.dtype == b.dtype:
            size = min(left, 1 << 20)
            if f.read(size) != g.read(size):
                return False
            left -= size
    return left == 0


def read_header(path):
    """A Weight for every tensor of a safetensors file; Refused unless the file is as long as its header says."""
    size, widths = os.path.getsize(path), WIDTHS | MASK_WIDTHS
    with open(path, "rb") as f:
        length = int.from_bytes(f.read(8), "little")
        if not 2 <= length <= min(size - 8, 100 << 20):
            raise Refused(f"{path}: not a safetensors file: it has {size} bytes and a header of {length}")
        text = f.read(length)
    found = []
    try:
        for name, entry in json.loads(text).items():
            if name == "__metadata__":
                continue
            (first, end), dtype, shape = entry["data_offsets"], entry["dtype"], tuple(entry["shape"])
            if dtype not in widths:
                raise Refused(f"{path}: {name} is {dtype}, want one of {', '.join(WIDTHS)}")
            if not 0 <= first <= end or end - first != widths[dtype] * math.prod(shape):
                raise Refused(f"{path}: {name}: {list(shape)} of {dtype} does not fit bytes {first} to {end}")
            if 8 + length + end > size:
                raise Refused(f"{path}: cut short: {name} ends at byte {8 + length + end} of {size}")
            found.append(Weight(path, name, dtype, shape, 8 + length + first))
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise Refused(f"{path}: its safetensors header cannot be read: {e!r}") from e
    return found


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
