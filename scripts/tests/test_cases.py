"""The promises of cases.json, judged without running an engine."""

import math
import os

import pytest

import cases
import contract
import models
from conftest import ROOT
from contract import Config, Rule

LIMIT = 16_000_000  # bytes of goldens an engine
ALL = cases.read()
COMMITTED = [(model, case) for model in cases.committed(ALL) for case in ALL[model].values()]


def config_of(model):
    import synthetic
    raw = synthetic.config(model)
    return Config(raw["n_layer"], raw["n_head"], raw["n_embd"], 4 * raw["n_embd"], raw["vocab_size"], raw["n_positions"],
                  raw["layer_norm_epsilon"], raw)


def kept(model, case):
    """(step, stage) of everything that a case's goldens hold."""
    rules = [Rule.parse(rule) for rule in case.left_out]
    return [(step, stage) for step in range(case.new) for stage in contract.stages(config_of(model), case.temperatures)
            if not any(rule.matches(step, stage) for rule in rules)]


def test_the_committed_cases_are_the_issues():
    assert set(cases.committed(ALL)) == {"synthetic-tiny", "synthetic-medium"}
    assert {name: (case.prompt, case.new) for name, case in ALL["synthetic-tiny"].items()} == {
        "hello": ("Hello.", 10), "quick-brown": ("The quick brown", 10), "once-upon": ("Once upon a time", 10),
        "answer": ("What is the answer to life, the universe, and everything?", 10), "one-token": ("<|endoftext|>", 10),
        "batch-of-two": (None, 10), "full-context": (ALL["synthetic-tiny"]["full-context"].prompt, 1)}
    tiny = ALL["synthetic-tiny"]
    assert len(tiny["one-token"].tokens[0]) == 1 and len(tiny["batch-of-two"].tokens) == 2
    assert len(tiny["full-context"].tokens[0]) == config_of("synthetic-tiny").positions
    for case in cases.of_model(ALL, "gpt2-medium").values():
        assert case.tokens == tiny[case.name].tokens and case.prompt == tiny[case.name].prompt and case.left_out == []
    assert all(case.temperatures == [0.5, 1, 2] for _, case in COMMITTED)


@pytest.mark.parametrize("model, case", COMMITTED, ids=lambda x: getattr(x, "name", x))
def test_tokens_fit_the_model(model, case):
    config = config_of(model)
    assert len({len(row) for row in case.tokens}) == 1
    assert all(0 <= token < config.vocab for row in case.tokens for token in row)
    assert len(case.tokens[0]) + case.new - 1 <= config.positions


@pytest.mark.parametrize("model, case", COMMITTED, ids=lambda x: getattr(x, "name", x))
def test_every_rule_leaves_something_out_and_none_the_tokens(model, case):
    everything = [(step, stage) for step in range(case.new) for stage in contract.stages(config_of(model), case.temperatures)]
    for rule in map(Rule.parse, case.left_out):
        assert any(rule.matches(step, stage) for step, stage in everything), rule
    assert {step for step, stage in kept(model, case) if stage == "next_token"} == set(range(case.new))


def test_probabilities_are_kept_only_beside_their_logits():
    for model, case in COMMITTED:
        there = set(kept(model, case))
        assert all((step, "logits_last") in there for step, stage in there if stage.startswith("probs_t")), (model, case.name)


def test_last_logits_are_whole_for_hello_and_one_more_case():
    whole = {(model, case.name) for model, case in COMMITTED
             if {step for step, stage in kept(model, case) if stage == "logits_last"} == set(range(case.new))}
    assert whole >= {("synthetic-tiny", "hello"), ("synthetic-tiny", "full-context"), ("synthetic-medium", "hello")}


def test_every_checkpoint_is_judged_in_several_cases_and_in_decoding():
    for number in range(1, 12):
        at = {(model, case.name, step > 0) for model, case in COMMITTED for step, stage in kept(model, case)
              if contract.checkpoint(stage) == number}
        assert len({(model, case) for model, case, _ in at}) >= 2, number
        if number != 11:  # softmax has no cache and no position: its logits are all that it reads
            assert any(decode for *_, decode in at), number


def test_medium_has_every_stage_of_the_prompt_and_what_blocks_put_out():
    case = ALL["synthetic-medium"]["hello"]
    there, config = set(kept("synthetic-medium", case)), config_of("synthetic-medium")
    assert {stage for step, stage in there if step == 0} == set(contract.stages(config, case.temperatures))
    for step in range(1, 10):
        assert {f"h.{n}.resid_post" for n in range(24)} | {"ln_f", "logits_last", "next_token"} <= {s for k, s in there if k == step}
    assert {(9, f"h.{n}.attn.cache_{x}") for n in range(24) for x in "kv"} <= there


def test_goldens_fit_their_budget():
    """Payloads and headers as planned; the committed folders, manifests included, where they are there."""
    total = sum(128 + 4 * math.prod(contract.shape_of(stage, config_of(model), len(case.tokens), *position(case, step)))
                for model, case in COMMITTED for step, stage in kept(model, case))
    assert total < LIMIT
    sizes = {}
    for model, case in COMMITTED:
        home = os.path.join(ROOT, "goldens", model, case.name)
        for engine in os.listdir(home) if os.path.isdir(home) else []:
            for parent, _, names in os.walk(os.path.join(home, engine)):
                sizes[engine] = sizes.get(engine, 0) + sum(os.path.getsize(os.path.join(parent, name)) for name in names)
    assert all(size <= LIMIT for size in sizes.values()), sizes


def position(case, step):
    return (len(case.tokens[0]), 0) if step == 0 else (1, len(case.tokens[0]) + step - 1)


def test_the_formula_gives_the_pinned_bytes(tmp_path):
    import synthetic
    assert synthetic.write("synthetic-tiny", str(tmp_path)) == models.pinned()["synthetic-tiny"]
    assert contract.sha256_file(tmp_path / "model.safetensors") == models.pinned()["synthetic-tiny"]
    assert all(len(pin) == 64 for pin in models.pinned().values())
