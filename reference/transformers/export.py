"""Exports a dump of GPT-2 computed by Hugging Face's transformers with PyTorch, eager attention, on a CPU.

A golden, and a run that `verify --engine` asks for, in float32 or less, with a KV cache or without, padded or not:

    python3 reference/transformers/export.py --model DIR --name gpt2-medium --tokens 15496,13 --new 10 --out DUMP
    python3 reference/transformers/export.py --model DIR --tokens TOKENS.npy --new 10 --out DUMP [--mask MASK.npy]
                                             [--dtype bf16] [--no-cache]

Nothing of the model is changed, but for an lm_head.bias, or computed again: modules are seen by their hooks, and
what attention computes between its modules by a TorchFunctionMode. Dimensions: B batch, T new positions, P positions
in the cache, S = P+T, C n_embd, H n_head, D = C/H, N all tokens, V vocab_size.
"""

import argparse
import inspect
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import contract  # noqa: E402
import dump  # noqa: E402

SOURCES = ["reference/contract.py", "reference/dump.py", "reference/transformers/export.py",
           "reference/transformers/requirements.txt"]

DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}  # torch's names, which --dtype takes too
CANNOT = 77  # the exit status that tells `verify --engine` so

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # models are folders; nothing is looked up
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
try:
    import numpy as np
    import safetensors.torch
    import torch
    import transformers
    from torch.overrides import TorchFunctionMode
    transformers.utils.logging.disable_progress_bar()
    ENGINE = {"name": "transformers", "version": f"{transformers.__version__}, torch {torch.__version__}", "dtype": "float32"}
except ImportError as e:
    print(f"transformers: {e}: pip install -r reference/transformers/requirements.txt", file=sys.stderr)
    sys.exit(2)


class Model(TorchFunctionMode):
    """A model, and the stages of its latest step by name, as it computed them."""

    def __init__(self, folder, dtype):
        super().__init__()
        self.config = contract.read_config(folder)
        weights = contract.find_weights(folder, self.config)
        files = {path: safetensors.torch.load_file(path) for path in {weight.path for weight in weights.values()}}
        config = transformers.GPT2Config(**{**self.config.raw, "tie_word_embeddings": "lm_head.weight" not in weights})
        state = {name if name.startswith("lm_head.") else f"transformer.{name}": files[weight.path][weight.name]
                 for name, weight in weights.items()}
        bias = state.pop("lm_head.bias", None)  # its GPT-2 has none
        self.gpt2 = transformers.GPT2LMHeadModel.from_pretrained(
            None, config=config, state_dict=state, attn_implementation="eager").to(dtype).eval()
        if bias is not None:
            self.gpt2.lm_head.bias = torch.nn.Parameter(bias.to(dtype))
        parameters = inspect.signature(self.gpt2.forward).parameters
        self.past = "cache" if "cache" in parameters else "past_key_values"  # the name of the argument
        self.cache, self.attention, self.stages = None, None, {}
        for path, module in self.gpt2.named_modules():
            self.watch(path.removeprefix("transformer."), module)

    def watch(self, path, module):
        """Keeps what goes into a module or comes out of it, by the name that the stage has."""
        block, _, name = path.rpartition(".")
        if path == "drop":
            module.register_forward_hook(self.keep("embed"))
        elif name == "ln_2":
            module.register_forward_pre_hook(self.keep(f"{block}.resid_mid"))
        elif name == "attn":
            module.register_forward_pre_hook(lambda *_: setattr(self, "attention", path))
        elif path.endswith("attn.c_proj"):
            module.register_forward_pre_hook(self.keep(f"{block}.context"))
        elif block == "h":
            module.register_forward_hook(self.keep(f"{path}.resid_post"))
        stage = "logits" if path == "lm_head" else path
        if stage in contract.stages(self.config, []):
            module.register_forward_hook(self.keep(stage))

    def keep(self, stage):
        """A hook that keeps a module's output; before a module, its input."""
        def hook(module, inputs, output=None):
            value = inputs if output is None else output
            self.stages[stage] = value[0] if isinstance(value, tuple) else value
        return hook

    def __torch_function__(self, function, types, arguments=(), named=None):
        """Sees every call of torch; in attention, those between its modules."""
        result, at = function(*arguments, **(named or {})), f"{self.attention}."
        call = function.__name__ if self.attention else ""
        if call == "split":
            for name, part in zip("qkv", result, strict=True):  # B,T,C each
                self.stages[at + name] = part.unflatten(-1, (self.config.heads, -1)).transpose(1, 2)  # B,H,T,D
        elif call == "matmul" and at + "probs" not in self.stages:  # of q and k
            self.stages[at + "cache_k"] = arguments[1].transpose(-1, -2)  # B,H,S,D
        elif call == "baddbmm":  # the same where reorder_and_upcast_attn is true: B*H,D,S
            self.stages[at + "cache_k"] = arguments[2].transpose(-1, -2).unflatten(0, (-1, self.config.heads))
        elif call == "softmax":
            scores = arguments[0]  # B,H,T,S; what is masked has about the least of finite numbers
            self.stages[at + "scores"] = scores.masked_fill(scores <= torch.finfo(scores.dtype).min / 2, -torch.inf)
            self.stages[at + "probs"] = result
        elif call == "matmul":  # of probs and v
            self.stages[at + "cache_v"] = arguments[1]  # B,H,S,D
        return result

    @torch.no_grad()
    def step(self, tokens, temperatures, mask=None, cached=True):
        """Feeds tokens [B,T]; returns the stages. mask is [B,S]: None where nothing is padding."""
        self.stages.clear()
        t, more = tokens.shape[1], {}
        if mask is not None:  # positions as generate counts them
            more = {"attention_mask": mask, "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)[:, -t:]}
        if cached:
            more[self.past] = self.cache
        with self:
            output = self.gpt2(tokens, use_cache=cached, **more)
        self.attention = None
        logits, self.cache = output[0].float(), output[1] if cached else None
        last = torch.full((len(tokens),), t - 1) if mask is None else t - 1 - mask[:, -t:].flip(1).argmax(1)
        last = logits[torch.arange(len(tokens)), last]  # B,V
        if mask is None:
            self.stages["wpe"] = self.stages["wpe"][0]  # T,C
        chosen = {"logits_last": last, "next_token": last.argmax(-1)}
        for value in temperatures:  # in float64: torch 1.13's softmax is more than 1e-6 off in float32
            warped = transformers.TemperatureLogitsWarper(float(value))(None, last)
            chosen[f"probs_t{value:g}"] = warped.softmax(-1, torch.float64)
        return {**self.stages, **chosen}


def array(value):
    return value.numpy() if value.dtype == torch.int64 else value.float().numpy()


def open_model(job):
    """The step function of a golden."""
    model = Model(job.model, torch.float32)

    def step(tokens, writer):
        found = model.step(torch.tensor(tokens), job.temperatures)
        for stage in contract.stages(job.config, job.temperatures):
            if writer.wants(stage):
                writer.put(stage, array(found[stage]))
        return found["next_token"].tolist()

    return step


def run(argv):
    """A run as `verify --engine` asks for it, of tokens that are all given; its dump has no manifest."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    p.add_argument("--model", required=True, metavar="DIR", help="folder with config.json and model.safetensors")
    p.add_argument("--tokens", required=True, metavar="FILE", help="int64 .npy [B,N]: the prompt and the new tokens")
    p.add_argument("--new", required=True, type=int, metavar="N", help="how many of them are new, the last never fed")
    p.add_argument("--mask", metavar="FILE", help="int64 .npy [B,N], 0 where a token is padding")
    p.add_argument("--out", required=True, metavar="DIR", help="the dump's folder")
    p.add_argument("--dtype", choices=(*DTYPES, *DTYPES.values()), default="f32")
    p.add_argument("--no-cache", action="store_true", help="compute all positions again at each step")
    a = p.parse_args(argv)
    try:
        write(a)
    except contract.Refused as e:
        print(f"transformers: {e}", file=sys.stderr)
        return 2
    except RuntimeError as e:
        if "not implemented for 'Half'" not in str(e):
            raise
        print(f"transformers: torch {torch.__version__} has no float16 on a CPU: {e}", file=sys.stderr)
        return CANNOT
    return 0


def write(a):
    """Writes the dump that run's command line asks for."""
    model = Model(a.model, getattr(torch, DTYPES.get(a.dtype, a.dtype)))
    tokens = torch.from_numpy(np.load(a.tokens))
    mask = torch.from_numpy(np.load(a.mask)) if a.mask else torch.ones_like(tokens)
    prompt = tokens.shape[1] - a.new
    for k in range(a.new):
        end = prompt + k
        first = 0 if a.no_cache or k == 0 else end - 1
        found = model.step(tokens[:, first:end], [0.5, 1, 2], None if mask.all() else mask[:, :end], not a.no_cache)
        folder = os.path.join(a.out, f"step_{k:02d}")
        os.makedirs(folder, exist_ok=True)
        for stage, value in found.items():
            np.save(os.path.join(folder, stage + ".npy"), np.ascontiguousarray(array(value)))
    np.save(os.path.join(a.out, "tokens.npy"), tokens.numpy())
    if not mask.all():
        np.save(os.path.join(a.out, "attention_mask.npy"), mask.numpy())


if __name__ == "__main__":
    if any(word.split("=")[0] == "--name" for word in sys.argv):
        sys.exit(dump.main(__doc__.splitlines()[0], ENGINE, SOURCES, open_model))
    sys.exit(run(sys.argv[1:]))
