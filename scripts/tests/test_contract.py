import json

import pytest
from conftest import CONFIG, parsed, random_weights, write_model, write_safetensors

import contract
from contract import Refused, Rule


@pytest.mark.parametrize("pattern, stage, want, why", [
    ("logits", "logits", True, "a name is itself"),
    ("logits", "logits_last", False, "no prefix match"),
    ("logits*", "logits_last", True, "a star is any characters"),
    ("h.*.attn.scores", "h.11.attn.scores", True, "a star crosses digits"),
    ("h.*", "h.0.mlp.act", True, "a star crosses dots"),
    ("h.*.ln_1", "h.0.ln_2", False, "the end counts"),
    ("h.1.*", "h.10.ln_1", False, "a dot is a dot"),
    ("h?1", "h.1", False, "only the star is special"),
    ("probs_t[0]", "probs_t0", False, "brackets are themselves"),
])
def test_match(pattern, stage, want, why):
    assert contract.match(pattern, stage) is want, why


@pytest.mark.parametrize("steps, want", [
    ("all", {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}), ("0", {0}), ("1-", {1, 2, 3, 4, 5, 6, 7, 8, 9}), ("1-8", set(range(1, 9))),
    ("2,5", {2, 5}), ("0,3-4,8-", {0, 3, 4, 8, 9}),
])
def test_steps(steps, want):
    rule = Rule.parse({"stages": "*", "steps": steps, "reason": "r"})
    assert {step for step in range(10) if rule.has_step(step)} == want


@pytest.mark.parametrize("raw", [
    {"stages": "x", "steps": "all"}, {"stages": "x", "steps": "all", "reason": ""}, {"stages": "x", "steps": "-3", "reason": "r"},
    {"stages": "x", "steps": "5-2", "reason": "r"}, {"stages": "x", "steps": "1,", "reason": "r"}, "all",
    {"stages": "x", "steps": 1, "reason": "r"}, {"stages": "x", "steps": "all", "reason": "r", "more": "x"},
])
def test_bad_rules_are_refused(raw):
    with pytest.raises(Refused):
        Rule.parse(raw)


def test_stages_are_the_contracts_in_execution_order():
    block = ["ln_1", "attn.c_attn", "attn.q", "attn.k", "attn.v", "attn.cache_k", "attn.cache_v", "attn.scores",
             "attn.probs", "attn.context", "attn.c_proj", "resid_mid", "ln_2", "mlp.c_fc", "mlp.act", "mlp.c_proj",
             "resid_post"]
    want = (["wte", "wpe", "embed"] + [f"h.{n}.{s}" for n in range(2) for s in block]
            + ["ln_f", "logits", "logits_last", "next_token", "probs_t0.5", "probs_t1", "probs_t2"])
    assert contract.stages(parsed(CONFIG), [0.5, 1, 2]) == want


@pytest.mark.parametrize("stage, want", [
    ("wte", (2, 3, 8)), ("wpe", (3, 8)), ("embed", (2, 3, 8)), ("h.1.attn.c_attn", (2, 3, 24)), ("h.0.attn.q", (2, 2, 3, 4)),
    ("h.0.attn.cache_v", (2, 2, 8, 4)), ("h.0.attn.scores", (2, 2, 3, 8)), ("h.0.attn.context", (2, 3, 8)),
    ("h.0.mlp.act", (2, 3, 32)), ("h.0.mlp.c_proj", (2, 3, 8)), ("logits", (2, 3, 97)), ("logits_last", (2, 97)),
    ("next_token", (2,)), ("probs_t0.5", (2, 97)),
])
def test_shapes(stage, want):
    assert contract.shape_of(stage, parsed(CONFIG), b=2, t=3, p=5) == want


def test_every_checkpoint_from_1_to_11_has_a_stage():
    numbers = {contract.checkpoint(stage) for stage in contract.stages(parsed(CONFIG), [1])}
    assert numbers == set(range(12))
    assert contract.checkpoint("h.0.resid_mid") == 7 and contract.checkpoint("h.10.resid_mid") == 8


@pytest.mark.parametrize("change, names", [
    ({"activation_function": "prelu"}, "activation_function"), ({"n_layer": 0}, "n_layer"), ({"n_embd": 9}, "n_embd"),
    ({"n_head": True}, "n_head"), ({"layer_norm_epsilon": 2.0}, "layer_norm_epsilon"), ({"vocab_size": "97"}, "vocab_size"),
    ({"scale_attn_by_inverse_layer_idx": 1}, "scale_attn_by_inverse_layer_idx"), ({"model_type": "llama"}, "model_type"),
])
def test_config_is_read_strictly(tmp_path, change, names):
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, **change}))
    with pytest.raises(Refused, match=names):
        contract.read_config(str(tmp_path))


def test_config_fills_in_what_older_files_lack(tmp_path):
    old = {key: value for key, value in CONFIG.items() if key not in ("n_positions", "n_inner", "layer_norm_epsilon")}
    (tmp_path / "config.json").write_text(json.dumps(old))
    config = contract.read_config(str(tmp_path))
    assert (config.positions, config.inner, config.eps) == (12, 32, 1e-5)
    assert config.raw == old


def test_a_cut_or_foreign_safetensors_file_is_refused(tmp_path):
    path = write_model(tmp_path / "m") / "model.safetensors"
    contract.read_header(str(path))
    whole = path.read_bytes()
    for cut in (0, 7, 8, 50, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(Refused, match="model.safetensors"):
            contract.read_header(str(path))


def test_the_hash_of_shards_is_of_the_sorted_lines_of_sha256sum(tmp_path):
    import hashlib
    weights = random_weights()
    names = list(weights)
    write_safetensors(tmp_path / "a.safetensors", {name: weights[name] for name in names[:9]})
    write_safetensors(tmp_path / "b.safetensors", {name: weights[name] for name in names[9:]})
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {
        name: "a.safetensors" if i < 9 else "b.safetensors" for i, name in enumerate(names)}}))
    files = contract.weight_files(str(tmp_path))
    lines = sorted(f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}\n"
                   for name in ("a.safetensors", "b.safetensors"))
    assert contract.weights_sha256(files) == hashlib.sha256("".join(lines).encode()).hexdigest()
    assert contract.weights_sha256(files[:1]) == hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()
