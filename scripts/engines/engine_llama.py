"""llama.cpp on a CPU, by llama-cpp-python: dumps what an evaluation callback sees, under llama.cpp's names.

  pip install llama-cpp-python==0.3.36 gguf numpy
  python3 scripts/engines/engine_llama.py MODEL TOKENS.npy OUT PROMPT NEW MASK.npy [f16]

The cache is float32, or float16 as llama.cpp's own default is. MODEL is converted to GGUF in float32, beside OUT.
"""

import ctypes
import json
import os
import pathlib
import sys

import gguf
import numpy as np
from llama_cpp import llama_cpp as llama

model, tokens, out = pathlib.Path(sys.argv[1]), np.load(sys.argv[2]), pathlib.Path(sys.argv[3])
prompt, new, mask, cache = int(sys.argv[4]), int(sys.argv[5]), np.load(sys.argv[6]), sys.argv[7:] or ["f32"]
if len(tokens) > 1 or not mask.all():
    sys.exit(77)  # one sequence, without padding
config = json.loads((model / "config.json").read_text())

NAMES = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "ln_1": "attn_norm", "ln_2": "ffn_norm",
         "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}


def convert(path):
    raw = memoryview((model / "model.safetensors").read_bytes())
    begin = 8 + int.from_bytes(raw[:8], "little")
    file = gguf.GGUFWriter(path, "gpt2")
    file.add_context_length(config["n_positions"])
    file.add_embedding_length(config["n_embd"])
    file.add_block_count(config["n_layer"])
    file.add_feed_forward_length(config.get("n_inner") or 4 * config["n_embd"])
    file.add_head_count(config["n_head"])
    file.add_layer_norm_eps(config["layer_norm_epsilon"])
    file.add_vocab_size(config["vocab_size"])
    file.add_tokenizer_model("none")
    for name, entry in json.loads(bytes(raw[8:begin])).items():
        if name == "__metadata__":
            continue
        x = np.frombuffer(raw[begin:][slice(*entry["data_offsets"])], "<f4").reshape(entry["shape"])
        module, _, kind = name.rpartition(".")
        block = ""
        if module.startswith("h."):
            _, n, module = module.split(".", 2)
            block = f"blk.{n}."
        if "c_" in module and kind == "weight":
            x = x.T  # Hugging Face's Conv1D has [in, out]
        file.add_tensor(f"{block}{NAMES[module]}.{kind}", np.ascontiguousarray(x))
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


class Tensor(ctypes.Structure):  # ggml_tensor, as far as it is read
    _fields_ = [("type", ctypes.c_int), ("buffer", ctypes.c_void_p), ("ne", ctypes.c_int64 * 4), ("nb", ctypes.c_size_t * 4),
                ("op", ctypes.c_int), ("op_params", ctypes.c_int32 * 16), ("flags", ctypes.c_int32), ("src", ctypes.c_void_p * 10),
                ("view_src", ctypes.c_void_p), ("view_offs", ctypes.c_size_t), ("data", ctypes.c_void_p), ("name", ctypes.c_char * 64)]


TYPES = {llama.GGML_TYPE_F32: "<f4", llama.GGML_TYPE_F16: "<f2"}
seen = {}  # of tensors of one name the last


@llama.ggml_backend_sched_eval_callback
def callback(address, ask, _):
    t = Tensor.from_address(address)
    if not ask and t.type in TYPES:
        size = t.nb[0] + sum((n - 1) * stride for n, stride in zip(t.ne, t.nb))
        raw = np.frombuffer((ctypes.c_char * size).from_address(t.data), TYPES[t.type])
        seen[t.name.decode()] = np.lib.stride_tricks.as_strided(raw, t.ne[::-1], t.nb[::-1]).astype("<f4")
    return True


@llama.llama_log_callback
def quiet(level, text, _):
    if level == 4:  # an error
        sys.stderr.write(text.decode())


llama.llama_log_set(quiet, None)
path = out.with_name(out.name + ".gguf")
convert(path)
loaded = llama.llama_model_load_from_file(os.fsencode(path), llama.llama_model_default_params())
options = llama.llama_context_default_params()
options.n_ctx = options.n_batch = options.n_ubatch = config["n_positions"]
options.n_threads = options.n_threads_batch = 1
options.flash_attn_type = 0  # shows no probabilities
options.type_k = options.type_v = {"f32": llama.GGML_TYPE_F32, "f16": llama.GGML_TYPE_F16}[cache[0]]
options.cb_eval = callback
context = llama.llama_init_from_model(loaded, options)
P = 0
for step in range(new):
    T = prompt if step == 0 else 1
    batch = llama.llama_batch_init(T, 0, 1)
    batch.n_tokens = T
    for i in range(T):
        batch.token[i], batch.pos[i], batch.logits[i] = int(tokens[0, P + i]), P + i, 1  # logits of every position
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
    seen.clear()
    if status := llama.llama_decode(context, batch):
        sys.exit(f"llama_decode: status {status} at step {step}")
    folder = out / f"step_{step:02d}"
    folder.mkdir(parents=True)
    for name, x in seen.items():
        np.save(folder / f"{name}.npy", x)
    llama.llama_batch_free(batch)
    P += T
np.save(out / "tokens.npy", tokens)
path.unlink()
