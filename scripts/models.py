"""Finds the model that goldens are made from: synthetic ones are made, real ones are looked up."""

import ast
import glob
import os
import re

from cases import ROOT
from contract import Refused, sha256_file
from engines import CACHE, locked, python, run

SYNTHETIC = os.path.join(ROOT, "reference", "float64", "synthetic.py")


def pinned(path=SYNTHETIC):
    """name -> SHA-256 of the synthetic models, read out of synthetic.py without running it."""
    with open(path, encoding="utf-8") as f:
        for node in ast.parse(f.read()).body:
            if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "PINNED" for t in node.targets):
                return ast.literal_eval(node.value)
    raise Refused(f"{path}: has no PINNED")


def find(model, say):
    """(name, folder) of a name or a folder, with the weights there."""
    name, folder = named(model)
    if folder:
        return name, folder
    home = os.environ.get("CHECKPOINT12_MODELS")
    if home and os.path.exists(os.path.join(home, model, "config.json")):
        return model, os.path.join(home, model)
    if model in pinned():
        return model, synthetic(model, say)
    for folder in hub(model):
        if os.path.exists(os.path.join(folder, "config.json")) and (
                glob.glob(os.path.join(folder, "model.safetensors")) or
                glob.glob(os.path.join(folder, "model.safetensors.index.json"))):
            return model, folder
    raise Refused(f"{model}: no weights in $CHECKPOINT12_MODELS/{model} or the Hugging Face cache: "
                  f"go run . fetch {model}")


def named(model):
    """(name, folder) of a name or a folder; the folder of a name is None."""
    if os.path.exists(os.path.join(model, "config.json")):
        return os.path.basename(os.path.abspath(model)), model
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", model):
        raise Refused(f"{model}: no folder with config.json, and no model's name")
    return model, None


def hub(model):
    """Snapshot folders of openai-community/MODEL in the Hugging Face cache, the one refs/main names first."""
    cache = os.environ.get("HF_HUB_CACHE") or os.path.join(
        os.environ.get("HF_HOME") or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "huggingface"), "hub")
    repository = os.path.join(cache, f"models--openai-community--{model}")
    snapshots = sorted(glob.glob(os.path.join(repository, "snapshots", "*")), key=os.path.getmtime, reverse=True)
    try:
        with open(os.path.join(repository, "refs", "main"), encoding="utf-8") as f:
            snapshots.insert(0, os.path.join(repository, "snapshots", f.read().strip()))
    except OSError:
        pass
    return snapshots


def synthetic(name, say):
    """The folder of a synthetic model in the cache: kept when its hash is the pinned one, else made."""
    folder, want = os.path.join(CACHE, "models", name), pinned()[name]
    weights = os.path.join(folder, "model.safetensors")
    interpreter = python("reference/float64/requirements.txt", say)
    with locked(f"model-{name}"):
        if want and os.path.exists(weights) and os.path.exists(os.path.join(folder, "config.json")) \
                and sha256_file(weights) == want:
            return folder
        say(f"making {name}")
        run([interpreter, SYNTHETIC, name, "--out", folder], f"making {name}")
        if want and sha256_file(weights) != want:
            raise Refused(f"{weights}: its SHA-256 is not the one pinned in reference/float64/synthetic.py")
    return folder
