"""llama.cpp by llama-cpp-python: a GGUF in float32, the cache float32 too, no flash attention."""

import os

import numpy as np

CONVERTED = "model.gguf"
NAMES = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "ln_1": "attn_norm", "ln_2": "ffn_norm",
         "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
         "lm_head": "output"}


def convert(config, weights, path):
    import gguf

    file = gguf.GGUFWriter(path, "gpt2")
    file.add_context_length(config.positions)
    file.add_embedding_length(config.embd)
    file.add_block_count(config.layers)
    file.add_feed_forward_length(config.inner)
    file.add_head_count(config.heads)
    file.add_layer_norm_eps(config.eps)
    file.add_vocab_size(config.vocab)
    file.add_tokenizer_model("none")
    for name, x in weights.items():
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


class Engine:
    def __init__(self, path, config, weights, threads):
        from llama_cpp import llama_cpp as llama

        self.llama, self.vocab = llama, config.vocab
        self.log = llama.llama_log_callback(lambda level, text, _: None)
        llama.llama_log_set(self.log, None)
        model = llama.llama_model_load_from_file(os.fsencode(path), llama.llama_model_default_params())
        options = llama.llama_context_default_params()
        options.n_ctx = options.n_batch = options.n_ubatch = min(512, config.positions)
        options.n_threads = options.n_threads_batch = threads
        options.flash_attn_type = 0
        options.type_k = options.type_v = llama.GGML_TYPE_F32
        self.context = llama.llama_init_from_model(model, options)
        self.batch = llama.llama_batch_init(options.n_batch, 0, 1)

    def start(self, tokens):
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), False)
        self.at = 0
        return self.feed(tokens)

    def step(self, token):
        return self.feed([token])

    def feed(self, tokens):
        batch, self.batch.n_tokens = self.batch, len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token, self.at + i, i == len(tokens) - 1
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
        if status := self.llama.llama_decode(self.context, batch):
            raise RuntimeError(f"llama_decode: status {status}")
        self.at += len(tokens)
        return np.ctypeslib.as_array(self.llama.llama_get_logits_ith(self.context, -1), (self.vocab,))
