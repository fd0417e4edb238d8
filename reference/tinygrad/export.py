"""Exports a dump of GPT-2 computed by tinygrad on its CPU backend.

    python3 reference/tinygrad/export.py --model DIR --name gpt2-medium --tokens 15496,13 --new 10 --out DUMP

Every stage is a tinygrad tensor, realised in memory before the next one reads it; numpy only writes files.
Dimensions: B batch, T new positions, P positions in the cache, S = P+T, C n_embd, H n_head, D = C/H,
F n_inner, V vocab_size.
"""

import importlib.metadata
import math
import os
import shutil
import sys

os.environ["DEV"] = "CPU:CLANG"  # its CPU backend, compiling with clang; read when tinygrad is imported
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import contract  # noqa: E402
import dump  # noqa: E402

SOURCES = ["reference/contract.py", "reference/dump.py", "reference/tinygrad/export.py",
           "reference/tinygrad/requirements.txt"]

# tinygrad calls $CC, which elsewhere is often gcc; it needs a clang.
os.environ["CC"] = COMPILER = cc if "clang" in (cc := os.environ.get("CC", "")) else "clang"

try:
    from tinygrad import Tensor, dtypes, nn
    ENGINE = {"name": "tinygrad", "version": importlib.metadata.version("tinygrad"), "dtype": "float32"}
except ImportError as e:
    print(f"tinygrad: {e}: pip install -r reference/tinygrad/requirements.txt", file=sys.stderr)
    sys.exit(2)


def softplus(x):
    """log(1 + exp(x)), in float64: in float32 nothing is left of exp(x) beside 1 where x is negative."""
    return x.cast(dtypes.float64).softplus()


# By contract.ACTIVATIONS' names; laplace has as many digits as Hugging Face has.
ACTIVATIONS = {
    "gelu_new": Tensor.gelu,  # the tanh form
    "gelu": lambda x: x.gelu("none"),
    "gelu_10": lambda x: x.gelu("none").minimum(10),
    "quick_gelu": Tensor.quick_gelu,
    "silu": Tensor.silu,
    "mish": lambda x: x * softplus(x).cast(dtypes.float32).tanh(),
    "relu": Tensor.relu,
    "relu6": lambda x: x.clamp(0, 6),
    "relu2": lambda x: x.relu().square(),
    "leaky_relu": Tensor.leaky_relu,
    "hardswish": Tensor.hardswish,
    "tanh": Tensor.tanh,
    "sigmoid": Tensor.sigmoid,
    "laplace": lambda x: 0.5 * (1 + ((x - 0.707107) / (0.282095 * math.sqrt(2))).erf()),
    "sqrtsoftplus": lambda x: softplus(x).sqrt().cast(dtypes.float32),
    "linear": lambda x: x,
}


class Attention:
    def __init__(self, config, layer, batch, length):
        self.heads, self.scale = config.heads, config.divisor(layer)
        self.c_attn = nn.Linear(config.embd, 3 * config.embd)
        self.c_proj = nn.Linear(config.embd, config.embd)
        shape = (batch, config.heads, length, config.head_dim)
        self.cache_k, self.cache_v = (Tensor.zeros(shape).contiguous().realize() for _ in "kv")

    def __call__(self, x, past, put):
        b, t, c = x.shape
        qkv = put("c_attn", self.c_attn(x))  # B,T,3C
        q, k, v = (put(name, part.reshape(b, t, self.heads, -1).transpose(1, 2))  # B,H,T,D
                   for name, part in zip("qkv", qkv.chunk(3, dim=-1), strict=True))
        self.cache_k[:, :, past:past + t].assign(k).realize()
        self.cache_v[:, :, past:past + t].assign(v).realize()
        keys = put("cache_k", self.cache_k[:, :, :past + t])  # B,H,S,D
        values = put("cache_v", self.cache_v[:, :, :past + t])  # B,H,S,D
        scores = q @ keys.transpose(-2, -1) / self.scale
        if t > 1:
            scores = scores + Tensor.full((1, 1, t, past + t), -math.inf).triu(past + 1)
        scores = put("scores", scores)  # B,H,T,S
        probs = put("probs", scores.softmax(-1))  # B,H,T,S
        context = put("context", (probs @ values).transpose(1, 2).reshape(b, t, c))  # B,T,C
        return put("c_proj", self.c_proj(context))  # B,T,C


class MLP:
    def __init__(self, config):
        self.c_fc = nn.Linear(config.embd, config.inner)
        self.c_proj = nn.Linear(config.inner, config.embd)
        self.act = ACTIVATIONS[config.activation]

    def __call__(self, x, put):
        up = put("c_fc", self.c_fc(x))  # B,T,F
        return put("c_proj", self.c_proj(put("act", self.act(up))))  # B,T,C


class Block:
    def __init__(self, config, layer, batch, length):
        self.ln_1, self.ln_2 = (nn.LayerNorm(config.embd, config.eps) for _ in range(2))
        self.attn, self.mlp = Attention(config, layer, batch, length), MLP(config)

    def __call__(self, x, past, put):
        x = put("resid_mid", x + self.attn(put("ln_1", self.ln_1(x)), past, under("attn.", put)))  # B,T,C
        return put("resid_post", x + self.mlp(put("ln_2", self.ln_2(x)), under("mlp.", put)))  # B,T,C


class GPT2:
    def __init__(self, config, batch, length, bias):
        self.wte, self.wpe = nn.Embedding(config.vocab, config.embd), nn.Embedding(config.positions, config.embd)
        self.h = [Block(config, layer, batch, length) for layer in range(config.layers)]
        self.ln_f = nn.LayerNorm(config.embd, config.eps)
        self.lm_head = nn.Linear(config.embd, config.vocab, bias=bias)

    def __call__(self, tokens, past, temperatures, put, wants):
        """Feeds tokens [B,T] at positions past to past+T-1; returns the next ids, int64 [B]."""
        wte = put("wte", self.wte(tokens))  # B,T,C
        wpe = put("wpe", self.wpe(Tensor.arange(past, past + tokens.shape[1])))  # T,C
        x = put("embed", wte + wpe)  # B,T,C
        for n, block in enumerate(self.h):
            x = block(x, past, under(f"h.{n}.", put))  # B,T,C
        logits = put("logits", self.lm_head(put("ln_f", self.ln_f(x))))  # B,T,V
        last = put("logits_last", logits[:, -1])  # B,V
        chosen = put("next_token", last.argmax(-1).cast(dtypes.int64))  # B; Tensor.argmax takes the first of equals
        for t in temperatures:
            if wants(f"probs_t{t:g}"):
                put(f"probs_t{t:g}", softmax(last / t))  # B,V
        return chosen


def softmax(x):
    """Of [B,V], added up in float64: adding V small numbers to one near 1, float32 loses more than checkpoint 11 allows."""
    e = (x - x.max(-1, keepdim=True)).exp().realize()  # B,V
    return (e / e.sum(-1, keepdim=True, dtype=dtypes.float64)).cast(dtypes.float32)


def under(prefix, put):
    """put for the stages below a module."""
    return lambda name, tensor: put(prefix + name, tensor)


def float32(tensor):
    """A weight on the CPU in float32. bfloat16 is widened by its bits: not every clang knows the type."""
    if tensor.dtype == dtypes.bfloat16:
        return (tensor.bitcast(dtypes.uint16).to("CPU").cast(dtypes.uint32) * 65536).bitcast(dtypes.float32)
    return tensor.to("CPU").cast(dtypes.float32)


def load_weights(folder, config):
    """name -> float32 tensor of every weight, names without transformer., Linear's [out,in] layout."""
    found = contract.find_weights(folder, config)
    files = {path: nn.state.safe_load(path) for path in {weight.path for weight in found.values()}}
    weights = {name: float32(files[weight.path][weight.name]).realize() for name, weight in found.items()}
    weights.setdefault("lm_head.weight", weights["wte.weight"])  # tied unless the file has its own
    for name, tensor in weights.items():  # GPT-2 stores its projections as [in,out]
        if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
            weights[name] = tensor.transpose().contiguous().realize()
    return weights


def open_model(job):
    # Looked for here because tinygrad itself ends in a traceback without it.
    if shutil.which(COMPILER) is None:
        raise contract.Refused(f"{COMPILER} is not installed, and tinygrad's CPU backend compiles with it: "
                               "apt-get install clang, or set CC to a clang")
    weights = load_weights(job.model, job.config)
    model = GPT2(job.config, len(job.tokens), len(job.tokens[0]) + job.new - 1, "lm_head.bias" in weights)
    # The caches are tensors of the model, but no weights.
    caches = {name: tensor for name, tensor in nn.state.get_state_dict(model).items() if ".cache_" in name}
    nn.state.load_state_dict(model, weights | caches, verbose=False)
    past = 0

    def step(tokens, writer):
        nonlocal past

        def put(stage, tensor):
            tensor = tensor.contiguous().realize()
            if writer.wants(stage):
                writer.put(stage, tensor.numpy())
            return tensor

        chosen = model(Tensor(tokens, dtype=dtypes.int32), past, job.temperatures, put, writer.wants)
        past += len(tokens[0])
        return chosen.tolist()

    return step


if __name__ == "__main__":
    sys.exit(dump.main(__doc__.splitlines()[0], ENGINE, SOURCES, open_model))
