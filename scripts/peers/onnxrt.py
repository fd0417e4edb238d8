"""ONNX Runtime on a CPU: a graph with the cached keys and values as inputs and outputs, which stay where they are."""

import os

import numpy as np

CONVERTED = "model.onnx"


def convert(config, weights, path):
    """T new tokens [T] and past keys and values [H, P, D]; the logits [1, V] of the last token, and [H, P+T, D]."""
    import onnx
    from onnx import TensorProto, helper

    C, H, D = config.embd, config.heads, config.head_dim
    nodes, constants, inputs, outputs = [], [], [("tokens", TensorProto.INT64, ["T"])], [("logits", TensorProto.FLOAT, [1, config.vocab])]

    def op(kind, *operands, out=None, n=1, **attributes):
        names = [out or f"{kind}_{len(nodes)}"] if n == 1 else [f"{kind}_{len(nodes)}_{i}" for i in range(n)]
        nodes.append(helper.make_node(kind, list(operands), names, **attributes))
        return names[0] if n == 1 else names

    def constant(name, value):
        value = np.asarray(value)
        constants.append(helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape, value.tobytes(), raw=True))
        return name

    def norm(x, name):
        return op("LayerNormalization", x, name + ".weight", name + ".bias", epsilon=config.eps)

    def linear(x, name):
        return op("Gemm", x, name + ".weight", name + ".bias")

    heads, rows = constant("heads", np.array([-1, H, D])), constant("rows", np.array([-1, C]))
    axis, none, one, last = (constant(name, np.array(v)) for name, v in (("axis", [1]), ("none", [0]), ("one", 1), ("last", [-1])))
    zero, low = constant("zero", np.float32(0)), constant("low", np.float32(np.finfo(np.float32).min))
    scale = constant("scale", np.float32(1 / np.sqrt(D)))
    P, T = op("Shape", "past_k.0", start=1, end=2), op("Shape", "tokens")
    S = op("Add", P, T)
    scalar = {name: op("Squeeze", x, none) for name, x in (("P", P), ("S", S))}
    positions = op("Range", scalar["P"], scalar["S"], "one")
    later = op("Less", op("Unsqueeze", positions, axis), op("Unsqueeze", op("Range", constant("from", 0), scalar["S"], "one"), none))
    mask = op("Where", later, low, zero)
    x = op("Add", op("Gather", "wte.weight", "tokens"), op("Gather", "wpe.weight", positions))
    for n in range(config.layers):
        h = f"h.{n}."
        qkv = op("Split", linear(norm(x, h + "ln_1"), h + "attn.c_attn"), n=3, axis=1, num_outputs=3)
        q, k, v = (op("Transpose", op("Reshape", part, heads), perm=[1, 0, 2]) for part in qkv)
        k, v = (op("Concat", f"past_{what}.{n}", new, out=f"{what}.{n}", axis=1) for what, new in (("k", k), ("v", v)))
        scores = op("Add", op("Mul", op("MatMul", q, op("Transpose", k, perm=[0, 2, 1])), scale), mask)
        context = op("MatMul", op("Softmax", scores, axis=-1), v)
        context = op("Reshape", op("Transpose", context, perm=[1, 0, 2]), rows)
        x = op("Add", x, linear(context, h + "attn.c_proj"))
        act = op("Gelu", linear(norm(x, h + "ln_2"), h + "mlp.c_fc"), approximate="tanh")
        x = op("Add", x, linear(act, h + "mlp.c_proj"))
        for what in "kv":
            inputs.append((f"past_{what}.{n}", TensorProto.FLOAT, [H, "P", D]))
            outputs.append((f"{what}.{n}", TensorProto.FLOAT, [H, "S", D]))
    op("Gemm", op("Gather", norm(x, "ln_f"), last, axis=0), "lm_head.weight" if "lm_head.weight" in weights else "wte.weight",
       out="logits", transB=1)

    data, offset = CONVERTED + ".data", 0
    with open(os.path.join(os.path.dirname(path), data), "wb") as f:
        for name, value in weights.items():
            tensor = onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=value.shape, data_location=TensorProto.EXTERNAL)
            for key, what in (("location", data), ("offset", offset), ("length", value.nbytes)):
                tensor.external_data.add(key=key, value=str(what))
            constants.append(tensor)
            f.write(value.tobytes() + bytes(-value.nbytes % 4096))
            offset = f.tell()
    graph = helper.make_graph(nodes, "gpt2", [helper.make_tensor_value_info(*i) for i in inputs],
                              [helper.make_tensor_value_info(*o) for o in outputs], constants)
    with open(path, "wb") as f:
        f.write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString())


class Engine:
    def __init__(self, path, config, weights, threads):
        import onnxruntime

        self.value, self.config = onnxruntime.OrtValue.ortvalue_from_numpy, config
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.caches = [output.name for output in self.session.get_outputs()][1:]

    def start(self, tokens):
        empty = np.zeros((self.config.heads, 0, self.config.head_dim), np.float32)
        self.past = {"past_" + name: self.value(empty) for name in self.caches}
        return self.feed(tokens)

    def step(self, token):
        return self.feed([token])

    def feed(self, tokens):
        binding = self.session.io_binding()
        binding.bind_ortvalue_input("tokens", self.value(np.array(tokens, np.int64)))
        for name, value in self.past.items():
            binding.bind_ortvalue_input(name, value)
        for name in ["logits"] + self.caches:
            binding.bind_output(name)
        self.session.run_with_iobinding(binding)
        logits, *new = binding.get_outputs()
        self.past = {"past_" + name: value for name, value in zip(self.caches, new)}
        return logits.numpy()[0]
