"""`compare` answers correctly, from the command line, on dumps that another engine wrote: numpy in float32, no manifest.

The engine is reference/float64/foreign.py on a micro model; the golden is the float64 engine's. Each test asks for
the whole answer: the exit status, which stages are wrong and at which steps, and why.
"""

import json
import os
import subprocess
import sys

import pytest

import foreign
from conftest import ROOT, write_model

PROMPT = ["--tokens", "3,14,15", "--new", "4"]
STEPS, DECODE = [0, 1, 2, 3], [1, 2, 3]
ATTENTION = [f"h.0.attn.{s}" for s in "q k v cache_k cache_v scores probs context c_proj".split()]


@pytest.fixture(scope="session")
def golden(tmp_path_factory):
    """golden(prompt) -> (the micro model's folder, the float64 engine's dump of that prompt), made once."""
    folder, made = tmp_path_factory.mktemp("golden"), {}
    model = str(write_model(folder / "micro"))

    def make(prompt):
        key = "_".join(prompt)
        if key not in made:
            made[key] = str(folder / key)
            subprocess.run([sys.executable, os.path.join(ROOT, "reference/float64/export.py"), "--model", model, "--name", "micro",
                            *prompt, "--out", made[key]], check=True)
        return model, made[key]

    return make


def unwrapped(text):
    """The words of a text, however its lines were broken."""
    return " ".join(text.split())


@pytest.fixture
def compare(checkpoint12, golden, tmp_path):
    """compare(foreign.py's arguments) -> the report, with exit status, stderr and stdout besides."""
    mine, report = str(tmp_path / "mine"), tmp_path / "report.json"

    def run(engine=(), prompt=PROMPT, with_golden=True, with_model=True):
        model, right = golden(prompt)
        foreign.main(["--model", model, *prompt, *engine, "--out", mine])
        command = [checkpoint12, "compare", "--candidate", mine, "--json", report]
        command += ["--golden", right] if with_golden else []
        command += ["--model", model] if with_model else []
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode in (0, 1), done.stderr
        return {**json.loads(report.read_text()), "status": done.returncode, "notes": unwrapped(done.stderr),
                "text": unwrapped(done.stdout)}

    return run


def introduced(answer):
    """{(stage, how many stages it was judged with): steps}"""
    found = {}
    for entry in answer["introduced"]:
        assert entry["span"][-1] == entry["stage"]
        found.setdefault((entry["stage"], len(entry["span"])), []).append(entry["step"])
    return found


def named(answer, stage):
    """The faults named for a stage, the best of each step."""
    best = {}
    for entry in answer["explanations"]:
        if entry["stage"] == stage:
            best.setdefault(entry["step"], entry["fault"])
    return set(best.values())


def test_a_correct_engine(compare):
    answer = compare()
    assert answer["status"] == 0 and answer["verdict"] == "pass" and answer["compared"] > 150
    assert answer["introduced"] == answer["explanations"] == answer["missing"] == answer["violations"] == []
    assert answer["tokens"]["certified"] == 4
    assert "tokens: 4 of 4 certified" in answer["text"]


@pytest.mark.parametrize("fault, stage, steps", [
    ("ln_unbiased", "h.1.ln_2", STEPS),
    ("conv1d_transposed", "h.0.attn.c_proj", STEPS),
    ("heads_interleaved", "h.1.attn.q", STEPS),
    ("cache_overwritten", "h.0.attn.cache_v", DECODE),
    ("scale_missing", "h.1.attn.scores", STEPS),
    ("mask_diagonal_hidden", "h.0.attn.scores", STEPS),  # the first row is NaN, and all that follows from it
    ("heads_not_merged", "h.0.attn.context", [0]),
    ("resid_from_normed", "h.0.resid_post", STEPS),
    ("gelu_erf", "h.1.mlp.act", STEPS),
    ("bfloat16_activations", "h.1.mlp.c_fc", STEPS),
    ("final_norm_missing", "ln_f", STEPS),
    ("position_first", "logits_last", [0]),
    ("argmin", "next_token", STEPS),
    ("temperature_inverted", "probs_t2", STEPS),
])
def test_one_fault(compare, fault, stage, steps):
    answer = compare(["--fault", f"{fault}@{stage}"])
    assert answer["status"] == 1 and answer["verdict"] == "fail"
    assert introduced(answer) == {(stage, 1): steps}
    assert fault in named(answer, stage)


def test_several_faults(compare):
    answer = compare(["--fault", "ln_mean_kept@h.0.ln_1", "--fault", "cache_stale@h.1.attn.cache_k", "--fault", "gelu_relu@h.*.mlp.act"])
    assert answer["status"] == 1
    assert answer["first_divergence"] == {"step": 0, "stage": "h.0.ln_1"}
    assert introduced(answer) == {("h.0.ln_1", 1): STEPS, ("h.1.attn.cache_k", 1): STEPS,
                                  ("h.0.mlp.act", 1): STEPS, ("h.1.mlp.act", 1): STEPS}
    assert named(answer, "h.0.ln_1") == {"ln_mean_kept"}
    assert named(answer, "h.1.attn.cache_k") == {"cache_stale"}
    assert named(answer, "h.0.mlp.act") == named(answer, "h.1.mlp.act") == {"gelu_relu"}


def test_a_stage_is_missing(compare):
    answer = compare(["--fault", "scale_d@h.1.attn.scores", "--leave-out", "h.*.attn.scores"])
    assert answer["status"] == 1
    assert introduced(answer) == {("h.1.attn.probs", 2): STEPS}
    assert answer["introduced"][0]["span"] == ["h.1.attn.scores", "h.1.attn.probs"]
    assert named(answer, "h.1.attn.probs") == {"scale_d"}
    assert {"step": 0, "stage": "h.0.attn.scores"} in answer["missing"]


def test_module_outputs_alone(compare):
    answer = compare(["--modules"])
    assert answer["status"] == 0 and answer["introduced"] == []
    assert answer["tokens"]["certified"] == 4  # by the logits' last row
    answer = compare(["--modules", "--fault", "mask_missing@h.0.attn.scores"])
    assert answer["status"] == 1
    assert introduced(answer) == {("h.0.attn.c_proj", len(ATTENTION)): [0]}
    assert answer["introduced"][0]["span"] == ATTENTION
    assert named(answer, "h.0.attn.c_proj") == {"mask_missing"}


@pytest.mark.parametrize("engine, stage, span", [
    (["--modules", "--fault", "pos_not_added@embed"], "h.0.ln_1", ["embed", "h.0.ln_1"]),
    (["--modules", "--fault", "resid_missing@h.1.resid_mid"], "h.1.ln_2", ["h.1.resid_mid", "h.1.ln_2"]),
    (["--leave-out", "h.*.attn.c_attn", "--fault", "bias_dropped@h.1.attn.c_attn"], "h.1.attn.q", ["h.1.attn.c_attn", "h.1.attn.q"]),
])
def test_one_fault_in_a_missing_stage_is_one_fault(compare, engine, stage, span):
    """The other stages that read the missing one inherit its error."""
    answer = compare(engine)
    assert answer["status"] == 1
    assert introduced(answer) == {(stage, 2): STEPS}
    assert answer["introduced"][0]["span"] == span
    assert named(answer, stage) == {engine[-1].partition("@")[0]}
    assert "off by the same fault" in answer["text"]


@pytest.mark.parametrize("left_out, faults", [
    (["--modules"], {"h.0.ln_1": "pos_not_added@embed", "h.0.ln_2": "resid_missing@h.0.resid_mid"}),
    (["--modules"], {"h.0.ln_1": "pos_not_added@embed", "h.0.resid_post": "resid_missing@h.0.resid_post"}),
    (["--modules"], {"h.1.ln_2": "ln_gain_dropped@h.1.ln_2", "h.1.resid_post": "resid_missing@h.1.resid_mid"}),
    (["--leave-out", "h.*.attn.c_attn"], {"h.1.attn.q": "bias_dropped@h.1.attn.c_attn", "h.1.attn.v": "heads_interleaved@h.1.attn.v"}),
    (["--leave-out", "h.*.attn.c_attn"], {"h.1.attn.q": "bias_dropped@h.1.attn.c_attn", "h.1.attn.v": "bfloat16_activations@h.1.attn.v"}),
    (["--leave-out", "logits*"], {"probs_t0.5": "bfloat16_activations@logits", "probs_t2": "temperature_inverted@probs_t2"}),
    (["--leave-out", "h.*.resid_*"], {"h.1.ln_1": "resid_missing@h.0.resid_post", "h.1.ln_2": "resid_from_normed@h.1.resid_mid"}),
    # here the second is the sum that the missing stage would be known by, or sits in what the sum is judged with
    (["--modules"], {"h.1.ln_2": "ln_gain_dropped@h.1.ln_2", "h.1.resid_post": "resid_missing@h.1.resid_post"}),
    (["--leave-out", "*.resid_mid", "--leave-out", "*.ln_2"],
     {"h.1.mlp.c_fc": "ln_gain_dropped@h.1.ln_2", "h.1.resid_post": "resid_missing@h.1.resid_post"}),
    (["--leave-out", "*.resid_mid", "--leave-out", "*.ln_2"],
     {"h.1.mlp.c_fc": "ln2_of_block_input@h.1.ln_2", "h.1.resid_post": "resid_missing@h.1.resid_mid"}),
    (["--leave-out", "embed", "--leave-out", "*.ln_1"],
     {"h.0.attn.c_attn": "ln_gain_dropped@h.0.ln_1", "h.0.resid_mid": "resid_missing@h.0.resid_mid"}),
    (["--leave-out", "*.resid_post", "--leave-out", "*.ln_1"],
     {"h.1.attn.c_attn": "ln_gain_dropped@h.1.ln_1", "h.1.resid_mid": "resid_missing@h.1.resid_mid"}),
])
def test_two_faults_where_a_stage_is_missing(compare, left_out, faults):
    """stage -> the fault that is to be named there"""
    answer = compare([*left_out, *(arg for fault in faults.values() for arg in ("--fault", fault))])
    assert answer["status"] == 1
    assert {stage for stage, _ in introduced(answer)} == set(faults)
    for stage, fault in faults.items():
        assert named(answer, stage) == {fault.partition("@")[0]}


@pytest.mark.parametrize("fault, left_out, stage", [
    ("bfloat16_activations@h.1.attn.v", ["c_attn", "v"], "h.1.attn.cache_v"),
    ("float16_activations@h.1.attn.k", ["c_attn", "k"], "h.1.attn.cache_k"),
])
def test_a_fault_is_placed_where_correct_stages_stay_correct(compare, fault, left_out, stage):
    """In c_attn, which is missing too, it would give the same here, and make q wrong."""
    answer = compare(["--fault", fault, *(arg for name in left_out for arg in ("--leave-out", "*." + name))])
    assert introduced(answer) == {(stage, 3): STEPS}
    fault, _, where = fault.partition("@")
    texts = [e["text"] for e in answer["explanations"] if e["fault"] == fault]
    assert texts and all(text.startswith(f"in {where}: ") for text in texts)


@pytest.mark.parametrize("fault, stage, steps", [
    ("heads_interleaved@h.0.attn.k#1-", "h.0.attn.c_proj", [1, 2, 3]),  # a decode path of its own
    ("qkv_per_head@h.1.attn.v#1-", "h.1.attn.c_proj", [1, 2, 3]),
    ("heads_interleaved@h.0.attn.k#2", "h.0.attn.c_proj", [2]),
    ("heads_interleaved@h.1.attn.v#0", "h.1.attn.c_proj", [0]),
])
def test_a_fault_at_some_steps_goes_into_a_missing_cache(compare, fault, stage, steps):
    """The steps that go on with the cache are right."""
    answer = compare(["--modules", "--fault", fault])
    assert introduced(answer) == {(stage, len(ATTENTION)): steps}
    assert named(answer, stage) == {fault.partition("@")[0]}


def test_a_stage_of_NaN_alone_is_not_passed(compare):
    answer = compare(["--fault", "mask_diagonal_hidden@h.0.attn.scores", "--fault", "gelu_erf@h.1.mlp.act"])
    assert introduced(answer)[("h.0.attn.scores", 1)] == STEPS
    hidden = [row for row in answer["replayed"] if row["stage"] == "h.1.mlp.act" and row["verdict"] != "introduced"]
    assert hidden and all(row["verdict"] == "unknown" and "not finite" in row["why"] for row in hidden)
    assert "could not be judged" in answer["text"]


@pytest.mark.parametrize("layout, words", [
    (["heads-last"], ["axes B T H D put into the order B H T D", "axes B S H D put into the order B H S D"]),
    (["merged"], ["axes B T (H D) put into the order B H T D", "axes B S (H D) put into the order B H S D"]),
    (["no-batch"], ["no axis B: read as a batch of one"]),
    (["no-batch", "heads-last"], ["axes B T H D put into the order B H T D", "no axis B: read as a batch of one"]),
])
@pytest.mark.parametrize("prompt", [PROMPT, ["--tokens", "3,14", "--new", "4"], ["--tokens", "3,14", "--new", "1"]])
def test_another_layout(compare, layout, words, prompt):
    """Also with a prompt of two tokens, as many as there are heads: values tell, where shapes do not."""
    arguments = [arg for name in layout for arg in ("--layout", name)]
    answer = compare(arguments, prompt=prompt)
    assert answer["status"] == 0 and answer["introduced"] == answer["missing"] == []
    for word in words:
        assert word in answer["notes"]
    answer = compare([*arguments, "--fault", "bias_dropped@h.1.attn.c_attn"], prompt=prompt)
    assert answer["status"] == 1
    assert set(introduced(answer)) == {("h.1.attn.c_attn", 1)}


def test_masked_scores_of_another_kind(compare):
    answer = compare(["--masked=-1e10"])
    assert answer["status"] == 0 and answer["introduced"] == []
    assert "masked places hold -1e+10, not -inf; their probabilities are exactly 0: read as -inf" in answer["notes"]
    answer = compare(["--masked=-1e10", "--fault", "mask_one_ahead@h.1.attn.scores"])
    assert answer["status"] == 1
    assert introduced(answer) == {("h.1.attn.scores", 1): [0]}


def test_without_a_golden(compare):
    answer = compare(with_golden=False)
    assert answer["status"] == 0 and answer["compared"] > 150
    assert "no golden was compared" in answer["notes"] and "agrees with the replay by" in " ".join(answer["text"].split())
    answer = compare(["--fault", "gelu_sigmoid@h.0.mlp.act"], with_golden=False)
    assert answer["status"] == 1
    assert introduced(answer) == {("h.0.mlp.act", 1): STEPS}
    assert named(answer, "h.0.mlp.act") == {"gelu_sigmoid"}


def test_without_a_model(compare):
    """The comparison alone still names the first divergence, and the contradictions within the dump."""
    answer = compare(["--fault", "cache_overwritten@h.1.attn.cache_k"], with_model=False)
    assert answer["status"] == 1 and answer["first_divergence"] == {"step": 1, "stage": "h.1.attn.cache_k"}
    assert answer["introduced"] == []
    assert [(v["stage"], v["rule"]) for v in answer["violations"] if v["step"] == 1] == [
        ("h.1.attn.cache_k", "does not follow from the h.1.attn.cache_k before and h.1.attn.k")]
    assert "the dump contradicts itself" in answer["text"]
