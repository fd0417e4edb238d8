"""What --junit writes is as Jenkins reads it.

junit-10.xsd is that of https://github.com/jenkinsci/xunit-plugin, under the MIT licence that it begins with:
src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd/junit-10.xsd.
"""

import os
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
import xmlschema

import engines

GOLDENS = os.path.join(engines.ROOT, "goldens")
HELLO = os.path.join(GOLDENS, "synthetic-tiny", "hello", "float64")
NUMPY = os.path.join(engines.ROOT, "scripts", "engines", "engine_numpy.py")
HOSTILE = "evil]]>\n<&\"' \x1b[31m\x01\u202e\ufffe ::error::x"


@pytest.fixture(scope="module")
def schema():
    return xmlschema.XMLSchema(os.path.join(engines.ROOT, "harness/report/ci/testdata/junit-10.xsd"))


@pytest.fixture(scope="module")
def tiny(checkpoint12, tmp_path_factory):
    """The model, two of its cases by two engines, and engines that run by the way they are called: right, wrong,
    cannot or fails."""
    folder = tmp_path_factory.mktemp("tiny")
    subprocess.run([checkpoint12, "synth", "synthetic-tiny", "--out", folder / "model"], check=True, capture_output=True)
    for case in ("hello", "one-token"):
        for engine in ("float64", "candle"):
            at = os.path.join("synthetic-tiny", case, engine)
            shutil.copytree(os.path.join(GOLDENS, at), folder / "goldens" / at)
    with open(NUMPY) as f:
        right = f.read()
    wrong = right.replace("np.tanh(", "np.sin(")
    assert wrong != right
    (folder / "wrong.py").write_text(wrong)
    (folder / "cannot.py").write_text("raise SystemExit(77)")
    (folder / "fails.py").write_text(f"import sys; sys.stderr.buffer.write({HOSTILE.encode()!r}); sys.exit(3)")
    shutil.copy(NUMPY, folder / "right.py")
    return folder


def run(program, tmp_path, *args):
    path = tmp_path / "junit.xml"
    done = subprocess.run([program, *map(str, args), "--junit", path], capture_output=True, text=True)
    assert path.exists(), done.stderr
    return done.returncode, path


def counts(path):
    """How many test cases there are, fail, are errors and are skipped, by the suite's own count and by theirs."""
    suite = ET.parse(path).getroot().find("testsuite")
    theirs = [len(suite.findall("testcase"))] + [len(suite.findall("testcase/" + x)) for x in ("failure", "error", "skipped")]
    assert theirs == [int(suite.get(x)) for x in ("tests", "failures", "errors", "skipped")]
    return theirs


@pytest.mark.parametrize("how, status", [("right", 0), ("wrong", 1), ("fails", 2)])
def test_verify_engine(checkpoint12, tiny, tmp_path, schema, how, status):
    command = shlex.join([sys.executable, str(tiny / (how + ".py"))]) + " {model} {tokens} {out} {new} {mask}"
    code, path = run(checkpoint12, tmp_path, "verify", "--goldens", tiny / "goldens", "--engine", command)
    assert code == status
    schema.validate(path)
    tests, failures, errors, skipped = counts(path)
    assert (failures > 0) == (how == "wrong") and (errors > 0) == (how == "fails") and tests > skipped > 0
    names = [(c.get("classname"), c.get("name")) for c in ET.parse(path).iter("testcase")]
    assert len(set(names)) == len(names)
    text = path.read_text()
    if how == "wrong":
        first = ET.parse(path).find(".//testcase[@name='hello/float64'][@classname='checkpoint12 verify synthetic-tiny."
                                    "checkpoint 06 (feed-forward)']/failure")
        for want in ("step_00/h.0.mlp.act", "cause", "look closer", "look at"):
            assert want in first.text, first.text
    if how == "fails":
        assert errors == 3  # the two cases and the verdict: padded ones need more cases
        assert r"\x1b[31m\x01\u202e" in text and "evil]]" in "".join(ET.parse(path).getroot().itertext())


def test_verify(checkpoint12, tiny, tmp_path, schema):
    code, path = run(checkpoint12, tmp_path, "verify", "--goldens", tiny / "goldens")
    assert code == 0
    schema.validate(path)
    assert counts(path)[1:3] == [0, 0]


@pytest.mark.parametrize("how, model, status", [("right", True, 0), ("wrong", True, 1), ("wrong", False, 1)])
def test_compare(checkpoint12, tiny, tmp_path, schema, how, model, status):
    dump = tmp_path / ("dump " + HOSTILE.replace("/", ""))
    subprocess.run([sys.executable, tiny / (how + ".py"), tiny / "model", os.path.join(HELLO, "tokens.npy"), dump], check=True)
    code, path = run(checkpoint12, tmp_path, "compare", "--golden", HELLO, "--candidate", dump,
                     *(["--model", tiny / "model"] if model else []))
    assert code == status
    schema.validate(path)
    assert (counts(path)[1] > 0) == (status == 1)


def test_accepted(checkpoint12, tiny, tmp_path, schema):
    """What rules accept passes, and stands in the output of its test case with the file and the reason."""
    rules = tmp_path / "rules.json"
    rules.write_text('[{"stages": "h.*.mlp.act", "accept": true, "why": "a table of GELU"}]')
    (tmp_path / "near.py").write_text((tiny / "right.py").read_text().replace("np.tanh(", "1.001 * np.tanh("))  # which changes no token
    command = shlex.join([sys.executable, str(tmp_path / "near.py")]) + " {model} {tokens} {out} {new} {mask}"
    code, path = run(checkpoint12, tmp_path, "verify", "--goldens", tiny / "goldens", "--engine", command, "--bounds", rules)
    assert code == 0
    schema.validate(path)
    assert counts(path)[1:3] == [0, 0]
    said = [case.findtext("system-out") for case in ET.parse(path).iter("testcase") if case.find("system-out") is not None]
    assert any(f"● step_00/h.0.mlp.act: computes wrong, accepted by {rules}: a table" in text for text in said), said
    assert any("○ " in text for text in said)


def test_nothing_written(checkpoint12, tiny, tmp_path):
    """What could not be judged at all leaves no file, and changes none."""
    path = tmp_path / "junit.xml"
    path.write_text("as it was")
    done = subprocess.run([checkpoint12, "compare", "--golden", HELLO, "--candidate", tmp_path / "none", "--junit", path],
                          capture_output=True, text=True)
    assert done.returncode == 2 and path.read_text() == "as it was" and os.listdir(tmp_path) == ["junit.xml"]


@pytest.mark.parametrize("old, new", [(' tests="1"', ""), ("testcase", "testcas"), ("</failure>", "<b/></failure>"),
                                      (' classname=', ' class=')])
def test_schema_can_fail(schema, tmp_path, old, new):
    text = ('<testsuites><testsuite name="x" tests="1" failures="1" errors="0"><testcase name="a" classname="b">'
            '<failure message="m">t</failure></testcase></testsuite></testsuites>')
    schema.validate(text)
    assert not schema.is_valid(text.replace(old, new))
