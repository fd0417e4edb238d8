#!/usr/bin/env python3
"""Prints how far each engine's goldens are from float64, by checkpoint and stage.

  python3 scripts/engine_distance.py
  python3 scripts/engine_distance.py --model synthetic-medium --json -

A distance is the largest |engine - float64| of a file as a part of the file's largest float64 magnitude;
each row has the largest over all layers, steps and cases, and where it is. The float64 files are rounded
to float32, so a distance below 6e-8 is none. An engine further off than TIMES the nearest is marked.
"""

import argparse
import json
import math
import os
import signal
import sys

import check
import npyfile
from contract import Refused, checkpoint
from regenerate_goldens import GOLDENS

YARDSTICK, TIMES, ROUNDING = "float64", 4, 6e-8


def kind(stage):
    """A stage without its layer: h.3.ln_1 is h.*.ln_1."""
    return f"h.*.{stage.split('.', 2)[2]}" if stage.startswith("h.") else stage


def listing(folder):
    return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if os.path.isdir(folder) else []


def measure(goldens, models):
    """(rows, findings): rows are (checkpoint, kind) -> engine -> dict(relative, absolute, largest, where)."""
    rows, findings, compared = {}, [], 0
    for model in models or listing(goldens):
        for case in listing(os.path.join(goldens, model)):
            home = os.path.join(goldens, model, case)
            others = [name for name in listing(home) if name != YARDSTICK]
            if not os.path.isdir(os.path.join(home, YARDSTICK)):
                continue
            truth = check.manifest_of(os.path.join(home, YARDSTICK))
            for engine in others:
                there = {entry["path"] for entry in check.manifest_of(os.path.join(home, engine))["files"]}
                for entry in truth["files"]:
                    if entry["path"] not in there:
                        continue
                    compared += 1
                    where = os.path.join(model, case, engine, entry["path"])
                    if entry["dtype"] == "int64":
                        if npyfile.read(os.path.join(goldens, where))[1:] != npyfile.read(os.path.join(home, YARDSTICK, entry["path"]))[1:]:
                            findings.append(f"{where}: other ids than float64")
                        continue
                    row = rows.setdefault((checkpoint(entry["stage"]), kind(entry["stage"])), {})
                    one = distance(os.path.join(goldens, where), os.path.join(home, YARDSTICK, entry["path"]))
                    if engine not in row or one["relative"] > row[engine]["relative"]:
                        row[engine] = {**one, "where": where}
    if not compared:
        raise Refused(f"{goldens}: no golden of another engine beside one of float64")
    return rows, findings


def distance(path, yardstick):
    try:
        got, want = npyfile.read(path)[2], npyfile.read(yardstick)[2]
    except npyfile.BadNpy as e:
        raise Refused(f"{path} or {yardstick}: {e}") from e
    if len(got) != len(want):
        raise Refused(f"{path}: {len(got)} values, float64 has {len(want)}")
    apart, largest = npyfile.max_difference(got, want)[0], npyfile.max_abs(want)
    return {"relative": apart / largest if largest else apart, "absolute": apart, "largest": largest}


def finite(one):
    """A distance for JSON, which has no infinity."""
    return {key: "+Inf" if value == math.inf else value for key, value in one.items()}


def outliers(rows):
    for (number, stage), row in sorted(rows.items()):
        nearest = max(min(one["relative"] for one in row.values()), ROUNDING)
        for engine, one in row.items():
            if len(row) > 1 and one["relative"] > TIMES * nearest:
                yield (f"{engine} is {one['relative'] / nearest:.1f} times as far from float64 as the nearest engine "
                       f"at {stage}: {one['where']}")


def table(rows, engines):
    """Lines of text: a row for each kind of stage, then the largest of each checkpoint."""
    head = f"{'checkpoint':<11}{'stage':<18}" + "".join(f"{engine + ' rel':>16}{'abs':>10}" for engine in engines)
    lines = [head]
    for (number, stage), row in sorted(rows.items(), key=lambda item: (item[0][0] or -1, item[0][1])):
        cells = "".join(f"{row[e]['relative']:>16.1e}{row[e]['absolute']:>10.1e}" if e in row else f"{'-':>16}{'-':>10}"
                        for e in engines)
        lines.append(f"{number or '-':<11}{stage:<18}{cells}")
    lines.append("")
    for number in sorted({key[0] for key in rows} - {0}):
        parts = []
        for engine in engines:
            found = [row[engine] for key, row in rows.items() if key[0] == number and engine in row]
            if found:
                worst = max(found, key=lambda one: one["relative"])
                parts.append(f"{engine} {worst['relative']:.1e} ({worst['where']})")
        lines.append(f"checkpoint {number}: " + ", ".join(parts))
    return lines


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    p.add_argument("--goldens", default=GOLDENS, metavar="DIR", help="folder of goldens (default: goldens/)")
    p.add_argument("--model", action="append", metavar="NAME", help="one model; repeat it for several")
    p.add_argument("--json", metavar="FILE", help="write the rows as JSON; - is stdout, and nothing else goes there")
    args = p.parse_args(argv)
    try:
        rows, findings = measure(args.goldens, args.model)
    except Refused as e:
        print(f"engine_distance: {e}", file=sys.stderr)
        return 2
    engines = sorted({engine for row in rows.values() for engine in row})
    findings += outliers(rows)
    if args.json != "-":
        print("\n".join(table(rows, engines) + [""] + [f"finding: {line}" for line in findings]).rstrip())
    if args.json:
        out = [{"checkpoint": number, "stage": stage, "engines": {engine: finite(one) for engine, one in row.items()}}
               for (number, stage), row in sorted(rows.items())]
        text = json.dumps({"rows": out, "findings": findings}, indent=1, allow_nan=False)
        if args.json == "-":
            print(text)
        else:
            with open(args.json, "w", encoding="utf-8") as f:
                f.write(text + "\n")
    return 0


if __name__ == "__main__":
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # so that `| head` is no error
    sys.exit(main())
