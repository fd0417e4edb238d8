"""The checks behind --check and --check-hashes: that a committed golden still follows from reference/.

Each function returns a list of lines, each naming the offending file; an empty list is a pass.
"""

import json
import os
from types import SimpleNamespace

import npyfile
from cases import ROOT
from contract import Refused, Rule, sha256_file, stages

# Regenerated values may differ from the committed ones: tinygrad compiles its kernels for the machine at
# hand, Candle and numpy choose theirs by what the processor has, and each sums in an order of its own. The
# bound is a fraction of the tensor's largest magnitude. Measured on case hello: tinygrad's kernels for a
# processor without AVX and FMA (DEV=CPU:CLANG:x86_64,x86-64) move synthetic-tiny by 1.4e-6 and
# synthetic-medium by 7.7e-6 (h.23.attn.scores, after 24 layers), unoptimised ones (NOOPT=1) by 0.9e-6 and
# 4.0e-6; the bound is 2.6 times the widest. Ids are exact: no margin in a committed case is that small.
RELATIVE = 2e-5


def manifest_of(folder):
    path = os.path.join(folder, "manifest.json")
    try:
        with open(path, encoding="utf-8") as f:
            manifest = json.load(f)
        for entry in manifest["files"]:
            entry["path"], entry["sha256"], entry["shape"], entry["dtype"]
        manifest["model"]["weights_sha256"], manifest["engine"]["name"], manifest["left_out"]
        [(entry["path"], entry["sha256"]) for entry in manifest["exporter"]]
        return manifest
    except OSError as e:
        raise Refused(f"{path}: {e.strerror}") from e
    except (ValueError, KeyError, TypeError) as e:
        raise Refused(f"{path}: no manifest of a golden: {e!r}") from e


def surplus(folder):
    """The files in a folder that the manifest there, if any, does not list."""
    try:
        listed = [entry["path"] for entry in manifest_of(folder)["files"]]
    except Refused:
        listed = []
    return sorted({os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/")
                   for parent, _, names in os.walk(folder) for name in names} - {"manifest.json", *listed})


def integrity(folder):
    """Checks that the files are those of the manifest, by name and hash."""
    try:
        manifest = manifest_of(folder)
    except Refused as e:
        return [str(e)]
    listed = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
    missing = sorted(path for path in listed if not os.path.isfile(os.path.join(folder, path)))
    problems = [f"{os.path.join(folder, path)}: is missing" for path in missing]
    problems += [f"{os.path.join(folder, path)}: is not in the manifest" for path in surplus(folder)]
    return problems + [f"{os.path.join(folder, path)}: its SHA-256 is not the manifest's"
                       for path in sorted(listed.keys() - set(missing)) if sha256_file(os.path.join(folder, path)) != listed[path]]


def unexplained(manifest):
    """The stages of steps, as paths, that are neither in the manifest's files nor left out by it."""
    listed, rules = {entry["path"] for entry in manifest["files"]}, [Rule(**rule) for rule in manifest["left_out"]]
    config = SimpleNamespace(layers=manifest["model"]["config"]["n_layer"])
    return [path for stage in stages(config, manifest["temperatures"]) for step in range(manifest["new"])
            if (path := f"step_{step:02d}/{stage}.npy") not in listed and not any(rule.matches(step, stage) for rule in rules)]


def provenance(folder, engine, case, weights_sha256):
    """Checks that the golden was made by today's exporter from this model (None: not known) and case, by its manifest."""
    try:
        manifest = manifest_of(folder)
    except Refused as e:
        return [str(e)]
    path, problems = os.path.join(folder, "manifest.json"), []
    then = {entry["path"]: entry["sha256"] for entry in manifest["exporter"]}
    now = {source: sha256_file(os.path.join(ROOT, source)) for source in engine.source_files()}
    for source in sorted(then.keys() | now.keys()):
        if source not in now:
            problems.append(f"{path}: made with {source}, which is no source of the exporter any more")
        elif then.get(source) != now[source]:
            problems.append(f"{path}: {source} has changed since")
    if weights_sha256 and manifest["model"]["weights_sha256"] != weights_sha256:
        problems.append(f"{path}: made from other weights than the model's")
    want = {"case": case.name, "prompt": case.prompt, "tokens": case.tokens, "new": case.new,
            "temperatures": case.temperatures}
    problems += [f"{path}: {key} is {manifest.get(key)!r}, cases.json has {value!r}"
                 for key, value in want.items() if manifest.get(key) != value]
    own = [rule for rule in manifest["left_out"] if rule not in case.left_out]
    if len(manifest["left_out"]) - len(own) != len(case.left_out) or not all(engine.may_lack(rule) for rule in own):
        problems.append(f"{path}: left_out is not what cases.json has")
    if manifest["engine"]["name"] != engine.name:
        problems.append(f"{path}: engine is {manifest['engine']['name']!r}, want {engine.name!r}")
    return problems


def without_hashes(manifest):
    """The manifest without the hashes of its files, which may differ when a golden is made again."""
    files = [{key: value for key, value in entry.items() if key != "sha256"} for entry in manifest["files"]]
    return {**manifest, "files": files}


def difference(committed, fresh):
    """(problems, largest difference as a fraction of its bound, where) of a golden made again."""
    try:
        old, new = manifest_of(committed), manifest_of(fresh)
    except Refused as e:
        return [str(e)], 0.0, ""
    problems, worst, where = [], 0.0, ""
    a, b = without_hashes(old), without_hashes(new)
    for key in sorted(a.keys() | b.keys()):
        if a.get(key) != b.get(key):
            problems.append(f"{os.path.join(committed, 'manifest.json')}: {key} differs from a golden made again"
                            + first_difference(a.get(key), b.get(key)))
    logits = {}  # step -> largest difference of logits_last
    made = {entry["path"] for entry in new["files"]}
    order = sorted(old["files"], key=lambda entry: entry.get("stage", "").startswith("probs_t"))  # after their logits
    for entry in (e for e in order if e["path"] in made):
        path = os.path.join(committed, entry["path"])
        try:
            kind, shape, got = npyfile.read(os.path.join(fresh, entry["path"]))
            if (kind, shape) != (want := npyfile.read(path))[:2]:
                problems.append(f"{path}: {want[0]} {want[1]}, made again it is {kind} {shape}")
                continue
        except npyfile.BadNpy as e:
            problems.append(f"{path}: {e}")
            continue
        apart, index = npyfile.max_difference(got, want[2])
        bound = 0.0 if kind == "<i8" else bound_of(entry, npyfile.max_abs(want[2]), logits)
        if entry.get("stage") == "logits_last":
            logits[entry["step"]] = apart
        share = apart / bound if bound else (float("inf") if apart else 0.0)
        if share > worst:
            worst, where = share, entry["path"]
        if share > 1:
            problems.append(f"{path}: {want[2][index]!r} at {index} of {len(got)}, made again it is {got[index]!r}; "
                            f"{apart:.3g} apart, {bound:.3g} allowed")
    return problems, worst, where


def bound_of(entry, largest, logits):
    """Largest allowed difference in a file.

    probs_t* follow from logits_last: softmax moves by at most 2·max|Δlogit|/t·max p, and 1e-6 for itself.
    """
    stage = entry["stage"]
    if stage.startswith("probs_t") and entry["step"] in logits:
        return 1e-6 + 2 * logits[entry["step"]] / float(stage.removeprefix("probs_t")) * largest
    return RELATIVE * largest


def first_difference(a, b):
    if isinstance(a, list) and isinstance(b, list):
        for x, y in zip(a, b):
            if x != y:
                return f": {json.dumps(x)}, not {json.dumps(y)}"
        return f": {len(a)} entries, not {len(b)}"
    return f": {json.dumps(a)}, not {json.dumps(b)}"
