"""Reads cases.json: the prompts that each model's goldens are made of, and the stages that they leave out.

A model that has no entry of its own (real weights, a folder) has those of "*".
"""

import json
import os
import sys
from dataclasses import dataclass

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CASES = os.path.join(ROOT, "scripts", "cases.json")
sys.path.insert(0, os.path.join(ROOT, "reference"))

from contract import Refused, Rule  # noqa: E402

ANY = "*"


@dataclass(frozen=True)
class Case:
    """One run: tokens is B rows of equal length, left_out the rules as cases.json has them."""

    name: str
    prompt: str | None
    tokens: list
    new: int
    temperatures: list
    left_out: list

    def unfit(self, config):
        """The reason why a model cannot run the case; None if it can."""
        token, need = max(map(max, self.tokens)), len(self.tokens[0]) + self.new - 1
        if token >= config.vocab:
            return f"token id {token} is outside the vocabulary, 0 to {config.vocab - 1}"
        if need > config.positions:
            return f"it needs {need} positions, the model has {config.positions}"
        return None

    def arguments(self, rules_file):
        """The exporters' command line for this case; the left-out rules are written to rules_file."""
        with open(rules_file, "w", encoding="utf-8") as f:
            json.dump(self.left_out, f)
        rows = [argument for row in self.tokens for argument in ("--tokens", ",".join(map(str, row)))]
        prompt = ["--prompt", self.prompt] if self.prompt is not None else []
        return [*rows, "--new", str(self.new), "--case", self.name, *prompt,
                "--temperatures", ",".join(f"{t:g}" for t in self.temperatures), "--rules", rules_file]


def read(path=CASES):
    """model name -> {case name -> Case}, in the file's order."""
    try:
        with open(path, encoding="utf-8") as f:
            raw = json.load(f)
        models = {model: {name: case(name, entry, raw["temperatures"], f"{path}: {model}: {name}")
                          for name, entry in entries.items()} for model, entries in raw["models"].items()}
    except OSError as e:
        raise Refused(f"{path}: {e.strerror}") from e
    except (ValueError, KeyError, AttributeError, TypeError) as e:
        raise Refused(f"{path}: {e!r}") from e
    return models


def case(name, entry, temperatures, where):
    unknown = set(entry) - {"prompt", "tokens", "new", "left_out"}
    if unknown:
        raise Refused(f"{where}: unknown key {sorted(unknown)[0]}")
    tokens, new = entry["tokens"], entry["new"]
    if not tokens or any(len(row) != len(tokens[0]) or not row for row in tokens):
        raise Refused(f"{where}: want rows of equal length")
    if any(type(token) is not int or token < 0 for row in tokens for token in row) or type(new) is not int or new < 1:
        raise Refused(f"{where}: want ids that are not negative, and new of at least 1")
    for rule in entry["left_out"]:
        Rule.parse(rule, where)
    return Case(name, entry.get("prompt"), tokens, new, temperatures, entry["left_out"])


def of_model(models, name):
    return models.get(name, models[ANY])


def given(models, name, tokens, new):
    """A case from the command line: nothing left out, and the temperatures of the others."""
    temperatures = next(iter(models[ANY].values())).temperatures
    return case(name, {"tokens": tokens, "new": new, "left_out": []}, temperatures, f"case {name}")


def committed(models):
    """Names of the models whose goldens are in the repository."""
    return [name for name in models if name != ANY]
