#!/usr/bin/env python3
"""Prints how far each engine's goldens are from float64, by checkpoint and stage.

  python3 scripts/engine_distance.py
  python3 scripts/engine_distance.py --above 4
  python3 scripts/engine_distance.py --model synthetic-medium --json -

The "abs" of an engine is its largest |engine - float64|, its "rel" the largest of a file as a part of the
file's largest float64 magnitude: two maxima over all layers, steps and cases, seldom of the same file. JSON
has the place of each. "pairs" are the same of any two engines, float64 among them. The float64 files are rounded
to float32, so a rel below 6e-8 is none. An engine further off than TIMES the nearest is marked.
"""

import argparse
import itertools
import json
import math
import os
import signal
import sys

import check
import npyfile
from contract import Refused, checkpoint, kind
from regenerate_goldens import GOLDENS

REFERENCE, PAIRS, TIMES, ROUNDING = "float64", "pairs", 4, 6e-8


def listing(folder):
    return sorted(name for name in os.listdir(folder) if not name.startswith(".")) if os.path.isdir(folder) else []


def measure(goldens, models, above=0):
    """(rows, findings), of the tensors whose largest float64 magnitude is above or more.

    rows are (checkpoint, kind) -> name -> dict(relative, where, absolute, where_absolute): by an engine's name
    its distance from float64, by PAIRS the largest between any two engines."""
    rows, findings, compared = {}, [], 0
    for model in models or listing(goldens):
        for case in listing(os.path.join(goldens, model)):
            home = os.path.join(goldens, model, case)
            if not os.path.isdir(os.path.join(home, REFERENCE)):
                continue
            truth = check.manifest_of(os.path.join(home, REFERENCE))
            others = {engine: {entry["path"] for entry in check.manifest_of(os.path.join(home, engine))["files"]}
                      for engine in listing(home) if engine != REFERENCE}
            for entry in truth["files"]:
                path = entry["path"]
                values = {engine: read(os.path.join(home, engine, path))
                          for engine in [REFERENCE] + [name for name, there in others.items() if path in there]}
                compared += len(values) - 1
                want = values[REFERENCE]
                largest = 0 if entry["dtype"] == "int64" else npyfile.max_abs(want)
                for a, b in itertools.combinations(values, 2):
                    if len(values[a]) != len(values[b]):
                        raise Refused(f"{os.path.join(home, b, path)}: {len(values[b])} values, {a} has {len(values[a])}")
                    where = os.path.join(model, case, b, path)
                    if entry["dtype"] == "int64":
                        if a == REFERENCE and values[b] != want:
                            findings.append(f"{where}: other ids than float64")
                        continue
                    if largest < above:
                        continue
                    key = checkpoint(entry["stage"]), kind(entry["stage"])
                    apart = npyfile.max_difference(values[b], values[a])[0]
                    row = rows.setdefault(key, {})
                    keep(row, PAIRS, apart, largest, f"{where}, {a}")
                    if a == REFERENCE:
                        keep(row, b, apart, largest, where)
    if not compared:
        raise Refused(f"{goldens}: no golden of another engine beside one of float64")
    if not rows:
        raise Refused(f"{goldens}: no tensor's largest magnitude is {above:g} or more")
    return rows, findings


def read(path):
    try:
        return npyfile.read(path)[2]
    except npyfile.BadNpy as e:
        raise Refused(f"{path}: {e}") from e


def keep(row, engine, apart, largest, where):
    """Keeps each of the two maxima of an engine by itself: they need not be of one file."""
    relative = apart / largest if largest else apart
    one = row.setdefault(engine, {"relative": relative, "where": where, "absolute": apart, "where_absolute": where})
    if relative > one["relative"]:
        one.update(relative=relative, where=where)
    if apart > one["absolute"]:
        one.update(absolute=apart, where_absolute=where)


def finite(one):
    """A distance for JSON, which has no infinity."""
    return {key: "+Inf" if value == math.inf else value for key, value in one.items()}


def outliers(rows):
    for (number, stage), row in sorted(rows.items()):
        row = {engine: one for engine, one in row.items() if engine != PAIRS}
        nearest = max(min(one["relative"] for one in row.values()), ROUNDING)
        for engine, one in row.items():
            if len(row) > 1 and one["relative"] > TIMES * nearest:
                yield (f"{engine} is {one['relative'] / nearest:.1f} times as far from float64 as the nearest engine "
                       f"at {stage}: {one['where']}")


def table(rows, engines):
    """Lines of text: a row for each kind of stage, then the largest of each checkpoint."""
    head = f"{'checkpoint':<11}{'stage':<18}" + "".join(f"{engine + ' rel':>17}{'abs':>9}" for engine in engines)
    lines = [head]
    for (number, stage), row in sorted(rows.items(), key=lambda item: (item[0][0] or -1, item[0][1])):
        cells = "".join(f"{row[e]['relative']:>17.1e}{row[e]['absolute']:>9.1e}" if e in row else f"{'-':>17}{'-':>9}"
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
    p.add_argument("--above", type=float, default=0, metavar="MAX", help="only tensors whose largest magnitude is MAX or more")
    p.add_argument("--json", metavar="FILE", help="write the rows as JSON; - is stdout, and nothing else goes there")
    args = p.parse_args(argv)
    try:
        rows, findings = measure(args.goldens, args.model, args.above)
    except Refused as e:
        print(f"engine_distance: {e}", file=sys.stderr)
        return 2
    engines = sorted({engine for row in rows.values() for engine in row} - {PAIRS})
    findings += outliers(rows)
    if args.json != "-":
        print("\n".join(table(rows, engines + [PAIRS]) + [""] + [f"finding: {line}" for line in findings]).rstrip())
    if args.json:
        out = [{"checkpoint": number, "stage": stage, "pairs": finite(row.pop(PAIRS)),
                "engines": {engine: finite(one) for engine, one in row.items()}}
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
