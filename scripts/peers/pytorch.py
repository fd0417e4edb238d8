"""PyTorch on a CPU, not compiled: its own operations, with the keys and values in a buffer of all positions."""

import numpy as np

CONVERTED = None


class Engine:
    def __init__(self, path, config, weights, threads):
        import torch

        torch.set_num_threads(threads)
        self.torch, self.config = torch, config
        self.weights = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        shape = config.layers, 2, config.heads, min(512, config.positions), config.head_dim
        self.cache = torch.zeros(shape)

    def start(self, tokens):
        self.at = 0
        return self.feed(tokens)

    def step(self, token):
        return self.feed([token])

    def norm(self, x, name):
        return self.torch.nn.functional.layer_norm(x, x.shape[-1:], self.weights[name + ".weight"], self.weights[name + ".bias"],
                                                   self.config.eps)

    def linear(self, x, name):
        return self.torch.addmm(self.weights[name + ".bias"], x, self.weights[name + ".weight"])

    def feed(self, tokens):
        torch, config, W = self.torch, self.config, self.weights
        with torch.inference_mode():
            T, first, end = len(tokens), self.at, self.at + len(tokens)
            x = W["wte.weight"][torch.tensor(tokens)] + W["wpe.weight"][first:end]
            for n in range(config.layers):
                h = f"h.{n}."
                qkv = self.linear(self.norm(x, h + "ln_1"), h + "attn.c_attn")
                q, k, v = qkv.view(T, 3, config.heads, config.head_dim).permute(1, 2, 0, 3)
                self.cache[n, 0, :, first:end], self.cache[n, 1, :, first:end] = k, v
                # Prompts are fed at once, so that a mask is only theirs.
                context = torch.nn.functional.scaled_dot_product_attention(
                    q[None], self.cache[n, 0, None, :, :end], self.cache[n, 1, None, :, :end], is_causal=T > 1)
                x = x + self.linear(context[0].transpose(0, 1).reshape(T, config.embd), h + "attn.c_proj")
                act = torch.nn.functional.gelu(self.linear(self.norm(x, h + "ln_2"), h + "mlp.c_fc"), approximate="tanh")
                x = x + self.linear(act, h + "mlp.c_proj")
            self.at = end
            head = W.get("lm_head.weight", W["wte.weight"])
            return (head @ self.norm(x[-1], "ln_f")).numpy()
