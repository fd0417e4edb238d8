"""Go names each fault that numpy plants: the variants are written apart, for the one catalogue that both read.

Each fault of faults.py sits once, in each kind of stage that it can sit in, in a dump of foreign.py's engine; `compare`
names the stage and the fault. Faults of different stages share a dump.
"""

import fnmatch

import pytest
from test_foreign import compare, golden, introduced  # noqa: F401  (fixtures)

import faults

# Stages of the micro model, of two layers, in which a fault is planted.
STAGES = ["wte", "wpe", "embed", *(f"h.1.{s}" for s in (
    "ln_1 attn.c_attn attn.q attn.k attn.v attn.cache_k attn.cache_v attn.scores attn.probs attn.context attn.c_proj "
    "resid_mid ln_2 mlp.c_fc mlp.act mlp.c_proj resid_post").split()),
    "ln_f", "logits", "logits_last", "next_token", "probs_t0.5"]

# Those that change nothing, or nothing that float32 shows, in a model whose variances are far above epsilon and whose
# logits are all different.
UNSEEN = {"ln_eps_1e-6", "ln_eps_1e-12", "tie_rule"}

# Those that leave NaN or zeros to the stages after them have a dump to themselves.
ALONE = {"mask_diagonal_hidden", "head_untied", "cache_stale"}

# So have faults of precision in stages that move values, or multiply two tensors, which may be of few bits already.
FEW_BITS = ["h.1.attn.[qkv]", "h.1.attn.cache_[kv]", "h.1.attn.scores", "h.1.attn.context", "logits_last"]

# A fault that leaves one of q, k and v as it is; and one that reads a stage computed only later.
LEFT_OUT = {("qkv_order_kqv", "h.1.attn.v"), ("qkv_order_vkq", "h.1.attn.k"), ("cache_k_for_v", "h.1.attn.cache_k")}


def alone(id, stage):
    few = (id == "tf32" or id.endswith("_activations")) and any(fnmatch.fnmatchcase(stage, p) for p in FEW_BITS)
    return id in ALONE or few


def dumps():
    """Lists of (fault, stage), no stage twice in a list, every plant in one of them."""
    lists = []
    for fault in faults.CATALOGUE:
        for stage in STAGES:
            plant = (fault.id, stage)
            if not fault.at(stage) or fault.id in UNSEEN or plant in LEFT_OUT:
                continue
            if alone(*plant):
                lists.append([plant])
                continue
            for taken in lists:
                if all(stage != other and not alone(id, other) for id, other in taken):
                    taken.append(plant)
                    break
            else:
                lists.append([plant])
    return lists


DUMPS = dumps()


def test_every_fault_has_a_variant_and_every_variant_a_fault():
    ids = [fault.id for fault in faults.CATALOGUE]
    assert len(set(ids)) == len(ids) and set(ids) == faults.VARIANTS.keys()


def test_every_fault_is_planted():
    planted = {id for plants in DUMPS for id, _ in plants}
    assert planted == {fault.id for fault in faults.CATALOGUE} - UNSEEN
    assert sum(map(len, DUMPS)) > 120


@pytest.mark.parametrize("plants", DUMPS, ids=lambda plants: f"{len(plants)}-from-{plants[0][0]}")
def test_named_as_planted(compare, plants):  # noqa: F811
    answer = compare([arg for id, stage in plants for arg in ("--fault", f"{id}@{stage}")])
    assert answer["status"] == 1
    assert {stage for stage, _ in introduced(answer)} == {stage for _, stage in plants}
    for id, stage in plants:
        steps = {e["step"] for e in answer["introduced"] if e["stage"] == stage}
        named = {e["step"] for e in answer["explanations"] if e["stage"] == stage and e["fault"] == id}
        assert named == steps, f"{id}@{stage}: {[e for e in answer['explanations'] if e['stage'] == stage]}"
