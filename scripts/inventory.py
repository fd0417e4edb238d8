#!/usr/bin/env python3
"""Writes goldens/inventory.json, which `verify` holds the committed goldens against, or checks that it follows from them.

  python3 scripts/inventory.py            after goldens or figures were made again on purpose
  python3 scripts/inventory.py --check    exit status 1 if it is not what this would write

It lists every manifest and file of figures by its SHA-256, and the steps at which a golden has each stage. A golden of a
case and an engine that is not there, or is short without saying so, is refused. regenerate_goldens.py writes it too, and
checks it.
"""

import argparse
import json
import os
import sys
from collections import Counter

import cases as case_list
import check
import engines as engine_list
from cases import ROOT
from contract import Refused, kind, sha256_file

GOLDENS = os.path.join(ROOT, "goldens")
NAME = "inventory.json"
ABOUT = "The goldens and figures of this repository; verify refuses others. Made by: python3 scripts/inventory.py"


def ranges(steps):
    """Steps as left_out has them: "0-9" or "0,3-5"."""
    parts = []
    for step in sorted(steps):
        if parts and parts[-1][1] == step - 1:
            parts[-1][1] = step
        else:
            parts.append([step, step])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def covers(manifest):
    """The steps at which each stage is there; h.*.ln_1 is the stage in all layers."""
    steps, groups = {}, {}  # of a stage, and the stages of these steps
    for entry in manifest["files"]:
        if "stage" in entry:
            steps.setdefault(entry["stage"], []).append(entry["step"])
    for stage, at in steps.items():
        groups.setdefault(ranges(at), []).append(stage)
    for text, names in groups.items():
        families = Counter(map(kind, names))
        whole = {family for family, count in families.items() if count == manifest["model"]["config"]["n_layer"]}
        groups[text] = list(dict.fromkeys(kind(name) if kind(name) in whole else name for name in names))
    return {name: text for text, names in groups.items() for name in names}


def content(goldens, cases_path=case_list.CASES, engines=engine_list.ENGINES):
    """The inventory of a folder, of the models that cases.json names; Refused if what that asks for is not there."""
    files, problems, models = {}, [], case_list.read(cases_path)
    for model in sorted(case_list.committed(models)):
        figures = os.path.join(goldens, model, "figures.json")
        if os.path.lexists(figures):
            files[f"{model}/figures.json"] = {"sha256": sha256_file(figures)}
        for case in sorted(models[model]):
            for engine in sorted(engines):
                folder = os.path.join(goldens, model, case, engine)
                problems += check.integrity(folder)
                if not os.path.exists(os.path.join(folder, "manifest.json")):
                    continue
                manifest, path = check.manifest_of(folder), os.path.join(folder, "manifest.json")
                problems += [f"{path}: {place} is neither in files nor in left_out" for place in check.unexplained(manifest)]
                files[f"{model}/{case}/{engine}/manifest.json"] = {"sha256": sha256_file(path), "covers": covers(manifest)}
    if problems:
        raise Refused(problems[0] + (f", and {len(problems) - 1} more" if len(problems) > 1 else ""))
    return {"schema": 1, "about": ABOUT, "files": files}


def layout(inventory):
    """JSON with a line for each file."""
    head = "".join(f" {json.dumps(key)}: {json.dumps(inventory[key])},\n" for key in ("schema", "about"))
    lines = (f"  {json.dumps(path)}: {json.dumps(entry)}" for path, entry in inventory["files"].items())
    return "{\n" + head + ' "files": {\n' + ",\n".join(lines) + "\n }\n}\n"


def write(goldens, *of):
    path, text = os.path.join(goldens, NAME), layout(content(goldens, *of))
    with open(path + ".tmp", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(path + ".tmp", path)


def problems(goldens, *of):
    """Lines that tell why the inventory is not that of the goldens."""
    path = os.path.join(goldens, NAME)
    try:
        with open(path, encoding="utf-8") as f:
            there = f.read()
        want = content(goldens, *of)
        if there == layout(want):
            return []
        listed, now = json.loads(there)["files"], want["files"]
        differing = sorted(name for name in {**listed, **now} if listed.get(name) != now.get(name))
        return [f"{path}: {name} is not as listed: python3 scripts/inventory.py lists it anew" for name in differing] or [
            f"{path}: is not laid out as inventory.py does"]
    except (OSError, Refused, ValueError, KeyError, TypeError, AttributeError) as e:
        return [f"{path}: {e}"]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if the file does not follow")
    parser.add_argument("--goldens", default=GOLDENS, metavar="DIR", help="folder of goldens (default: goldens/)")
    args = parser.parse_args(argv)
    if args.check:
        found = problems(args.goldens)
        print("\n".join(found) or f"{os.path.join(args.goldens, NAME)}: follows from the goldens")
        return 1 if found else 0
    try:
        write(args.goldens)
    except (OSError, Refused) as e:
        print(f"inventory: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
