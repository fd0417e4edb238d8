#!/usr/bin/env python3
"""Makes goldens/<model>/<case>/<engine> with the exporters in reference/, or checks those that are there.

  python3 scripts/regenerate_goldens.py                            all that is committed, but mistralrs's and transformers'
  python3 scripts/regenerate_goldens.py --engine tinygrad --case hello
  python3 scripts/regenerate_goldens.py --model gpt2-medium        real weights, once fetched
  python3 scripts/regenerate_goldens.py --model DIR --out DIR      weights of your own
  python3 scripts/regenerate_goldens.py --model DIR --tokens 1,2,3 --new 10 --case mine
                                                                   and a prompt of its vocabulary
  python3 scripts/regenerate_goldens.py --check --model synthetic-tiny
  python3 scripts/regenerate_goldens.py --engine mistralrs         only so: it takes a quarter of an hour to build
  python3 scripts/regenerate_goldens.py --engine transformers      only so: it downloads 2.7 GB

Needs Python 3.11 and its venv module; clang for tinygrad, cargo for candle and mistralrs. Everything else it
installs into .cache/. Exit status: 0 done, 1 --check found a difference, 2 something could not be had.
"""

import argparse
import contextlib
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import cases as case_list
import check
import engines as engine_list
import inventory
import models as model_list
from cases import ROOT
from contract import Refused, Rule, read_config, shape_of, stages
from dump import Job, ids, is_dump, replace_folder

GOLDENS = os.path.join(ROOT, "goldens")


@dataclass(frozen=True)
class Task:
    """One golden; model is the name in the manifest, folder holds the weights (None: not needed)."""

    model: str
    folder: str | None
    case: case_list.Case
    engine: engine_list.Engine

    @property
    def path(self):
        return os.path.join(self.model, self.case.name, self.engine.name)


def say(text):
    print(text, file=sys.stderr, flush=True)


class Runner:
    """Runs exporters, several at a time, and ends those still running when it is left."""

    def __init__(self, scratch, jobs):
        self.scratch, self.jobs, self.running, self.lock, self.stopped = scratch, jobs, set(), threading.Lock(), False

    def export(self, task, command):
        """Makes one golden in the scratch folder; returns (its path there, seconds)."""
        out = os.path.join(self.scratch, task.path)
        os.makedirs(os.path.dirname(out), exist_ok=True)
        arguments = ["--model", task.folder, "--name", task.model, *task.case.arguments(out + ".rules.json"), "--out", out]
        start = time.monotonic()
        with self.lock:
            if self.stopped:
                raise Refused("stopped")
            process = subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE, text=True, errors="replace")
            self.running.add(process)
        try:
            _, errors = process.communicate()
        finally:
            with self.lock:
                self.running.discard(process)
        if process.returncode:
            lines = errors.strip().splitlines() or [f"exit status {process.returncode}"]
            raise Refused(lines[-1].strip())
        problems = check.integrity(out) or check.provenance(out, task.engine, task.case, None)
        if problems:
            raise Refused(f"the exporter did not write the golden asked for: {problems[0]}")
        return out, time.monotonic() - start

    def run(self, tasks, commands, finish):
        """finish(task, path, seconds) for each golden made; returns the lines of those that failed."""
        failures = []
        with ThreadPoolExecutor(self.jobs) as pool:
            pending = {pool.submit(self.export, task, commands[task.engine.name]): task for task in tasks}
            try:
                for done in as_completed(pending):
                    task = pending[done]
                    try:
                        finish(task, *done.result())
                    except (Refused, OSError) as e:
                        failures.append(f"{task.path}: {e}")
                        say(f"failed: {failures[-1]}")
            except BaseException:
                with self.lock:
                    self.stopped = True
                    for process in self.running:
                        process.terminate()
                raise
        return failures


def size_of(folder):
    """(files, bytes) of a folder."""
    sizes = [os.path.getsize(os.path.join(parent, name)) for parent, _, names in os.walk(folder) for name in names]
    return len(sizes), sum(sizes)


def planned_size(task):
    """Bytes of the .npy files that the task will write, headers of 128 bytes included."""
    config, case = read_config(task.folder), task.case
    job = Job(task.folder, task.model, config, case.tokens, case.new, None, case.name, case.prompt, case.temperatures,
              [Rule.parse(rule) for rule in case.left_out], "")
    total = 128 + 8 * len(case.tokens) * (len(case.tokens[0]) + case.new)
    for step in range(case.new):
        for stage in stages(config, case.temperatures):
            if job.wants(step, stage):
                count = 1
                for dimension in shape_of(stage, config, len(case.tokens), *job.positions(step)):
                    count *= dimension
                total += 128 + count * (8 if stage == "next_token" else 4)
    return total


def hold(folder):
    """Locks a folder until this process ends; False where another one has it, or nothing can (Windows)."""
    try:
        import fcntl
        fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def scratch_folder(home):
    """A new folder in home, for this run alone. Those that killed runs left there are removed."""
    os.makedirs(home, exist_ok=True)
    with engine_list.locked("regenerate"):
        for left in glob.glob(os.path.join(glob.escape(home), ".regenerate-*")):
            if hold(left):
                shutil.rmtree(left, ignore_errors=True)
        scratch = tempfile.TemporaryDirectory(prefix=".regenerate-", dir=home)
        hold(scratch.name)
    return scratch


def put_back(golden):
    """Puts back a golden that a killed run had moved aside, and removes what such runs left beside it."""
    parent, name = os.path.split(golden)
    for aside in glob.glob(os.path.join(glob.escape(parent), f".{name}.*")):
        old = os.path.join(aside, "old")
        if os.path.exists(old) and not os.path.lexists(golden):
            os.rename(old, golden)
        shutil.rmtree(old, ignore_errors=True)
        with contextlib.suppress(OSError):  # of an exporter that somebody runs
            os.rmdir(aside)


def regenerate(tasks, commands, out, jobs):
    """Makes the goldens and swaps each into out as a whole folder; returns the exit status."""
    done, count = [], [0]
    inside = os.path.commonpath([os.path.abspath(out), ROOT]) == ROOT
    home = engine_list.CACHE if inside else out  # on the file system of out, so that a rename is enough
    with scratch_folder(home) as scratch:
        def finish(task, made, seconds):
            golden = os.path.join(out, task.path)
            if os.path.lexists(golden) and not is_dump(golden):
                raise Refused(f"{golden}: there already and no golden; remove it first")
            for path in check.surplus(golden):
                raise Refused(f"{os.path.join(golden, path)}: is in no manifest there, and is not replaced; remove it first")
            files, size = size_of(made)
            os.makedirs(os.path.dirname(golden), exist_ok=True)
            with engine_list.locked("goldens"):
                replace_folder(made, os.path.abspath(golden))
            count[0] += 1
            done.append(task)
            say(f"[{count[0]}/{len(tasks)}] {task.path}: {files} files, {size / 1e6:.2f} MB, {seconds:.1f} s")

        with engine_list.locked("goldens"):
            for task in tasks:
                put_back(os.path.join(out, task.path))
        failures = Runner(scratch, jobs).run(tasks, commands, finish)
    for engine in dict.fromkeys(task.engine.name for task in done):
        total = sum(size_of(os.path.join(out, task.path))[1] for task in done if task.engine.name == engine)
        say(f"{engine}: {total / 1e6:.2f} MB")
    if failures:
        say(f"{len(failures)} of {len(tasks)} goldens were not made; the old ones are still there")
    return 2 if failures else 0


def check_fresh(tasks, commands, goldens, jobs):
    """Makes the goldens in a temporary place and compares; returns the problems."""
    problems = []
    with scratch_folder(engine_list.CACHE) as scratch:
        def finish(task, made, seconds):
            golden = os.path.join(goldens, task.path)
            found = check.integrity(golden) or check.provenance(golden, task.engine, task.case, None)
            if not found:
                found, worst, where = check.difference(golden, made)
            if found:
                say(f"differs: {task.path}")
                problems.extend(found)
            else:
                how = f"at most {worst:.0%} of the bound, at {where}" if where else "every value equal"
                say(f"same: {task.path}: {how}, {seconds:.1f} s")
            shutil.rmtree(made)

        failures = Runner(scratch, jobs).run(tasks, commands, finish)
    if failures:
        raise Refused(f"{len(failures)} goldens could not be made again, the first: {failures[0]}")
    return problems


def check_hashes(tasks, goldens):
    """Checks without running an engine that the goldens follow from today's sources; returns the problems."""
    problems, pins = [], model_list.pinned()
    for task in tasks:
        golden = os.path.join(goldens, task.path)
        problems += check.integrity(golden)
        if os.path.exists(os.path.join(golden, "manifest.json")):
            problems += check.provenance(golden, task.engine, task.case, pins.get(task.model))
    return problems


def strays(goldens, model, tasks):
    """Lines for folders of a model's goldens that belong to no case and engine; figures.py and pytest look after figures."""
    known, home = {task.path for task in tasks}, os.path.join(goldens, model)
    found = []
    for case in sorted(set(os.listdir(home)) - {"figures.json"}) if os.path.isdir(home) else []:
        inner = os.path.join(home, case)
        found += [os.path.join(model, case, name) for name in sorted(os.listdir(inner))] if os.path.isdir(inner) else [
            os.path.join(model, case)]
    return [f"{os.path.join(goldens, path)}: belongs to no case of cases.json and no engine" for path in found
            if path not in known]


def parse_args(argv, engines):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    p.add_argument("--engine", action="append", choices=sorted(engines), help="one engine; repeat it for several")
    p.add_argument("--model", action="append", metavar="NAME|DIR", help="one model; repeat it for several")
    p.add_argument("--case", action="append", metavar="NAME", help="one case; repeat it for several")
    p.add_argument("--tokens", action="append", type=ids, metavar="IDS",
                   help="a prompt for the one model and --case, in the place of those of cases.json; repeat it for a batch")
    p.add_argument("--new", type=int, metavar="N", help="new tokens after --tokens")
    p.add_argument("--name", help="name of the model in --model DIR (default: the folder's)")
    p.add_argument("--out", default=GOLDENS, metavar="DIR", help="folder of goldens (default: goldens/)")
    p.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), metavar="N", help="exporters at a time")
    mode = p.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="make them again elsewhere and compare within a bound")
    mode.add_argument("--check-hashes", action="store_true",
                      help="run no engine: files, exporter sources, weights and cases against the manifests alone")
    mode.add_argument("--plan", action="store_true", help="print the goldens that would be made, with sizes, and make nothing")
    args = p.parse_args(argv)
    if args.jobs < 1:
        p.error("--jobs: want at least 1")
    if args.name and len(args.model or []) != 1:
        p.error("--name: want one --model DIR")
    if (args.tokens or args.new) and not (args.tokens and args.new and len(args.model or []) == len(args.case or []) == 1):
        p.error("a prompt of your own is --model, --tokens, --new and --case, of which only --tokens may be repeated")
    return args


def plan(args, engines, cases_path):
    """The tasks of the command line."""
    all_cases, tasks = case_list.read(cases_path), []
    wanted = [engines[name] for name in args.engine] if args.engine else list(engines.values())
    for model in args.model or case_list.committed(all_cases):
        name, folder = model_list.named(model) if args.check_hashes else model_list.find(model, say)
        name = args.name or name
        cases = case_list.of_model(all_cases, name)
        if args.tokens:
            cases = {args.case[0]: case_list.given(all_cases, args.case[0], args.tokens, args.new)}
        unknown = [case for case in args.case or [] if case not in cases]
        if unknown and len(args.model or [1, 2]) == 1:
            raise Refused(f"{unknown[0]}: no case of {name}; it has {', '.join(cases)}")
        chosen = [case for case in cases.values() if not args.case or case.name in args.case]
        tasks += [Task(name, folder, case, engine) for case in fitting(name, folder, chosen) for engine in wanted]
    if not tasks:
        raise Refused("no golden is asked for: no model has such a case")
    return tasks


def fitting(name, folder, cases):
    """The cases that the model in the folder (None: not looked at) can run; Refused if there is none."""
    if folder is None:
        return cases
    config = read_config(folder)
    unfit = {case.name: reason for case in cases if (reason := case.unfit(config))}
    if unfit and len(unfit) == len(cases):
        first, reason = next(iter(unfit.items()))
        raise Refused(f"{name}: case {first}: {reason}: give a prompt that fits, such as --tokens 1,2,3 --new 10 --case mine")
    for case, reason in unfit.items():
        say(f"{name}: case {case} is left out: {reason}")
    return [case for case in cases if case.name not in unfit]


def set_aside(args, tasks):
    """(tasks, those of engines that are made ready only when they are named, and none was)."""
    aside = [] if args.engine or args.check_hashes else [task for task in tasks if task.engine.only_named]
    for engine in dict.fromkeys(task.engine for task in aside):
        say(f"{engine.name}: {engine.only_named}, so only with --engine {engine.name}"
            + ("; here by the hashes of its sources" if args.check else ""))
    rest = [task for task in tasks if task not in aside]
    if not rest and not args.check:
        raise Refused("nothing is left to make")
    return rest, aside


def remedy(tasks, problems):
    """The commands that make the goldens of the problems again."""
    named = {task.engine.name for task in tasks if task.engine.only_named and any(f"{task.path}" in p for p in problems)}
    rest = any(not any(f"/{name}" in p for name in named) for p in problems)
    command = "python3 scripts/regenerate_goldens.py"
    commands = [command] * rest + [f"{command} --engine {name}" for name in sorted(named)]
    return " and ".join(commands) + " makes them again"


def main(argv=None, engines=engine_list.ENGINES, cases_path=case_list.CASES):
    """Returns the exit status. engines and cases_path are for tests."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that scratch folders are removed
    args = parse_args(argv, engines)
    try:
        tasks, aside = set_aside(args, plan(args, engines, cases_path))
        if args.plan:
            for task in tasks:
                print(f"{task.path}: {planned_size(task) / 1e6:.2f} MB")
            print(f"{sum(map(planned_size, tasks)) / 1e6:.2f} MB in {len(tasks)} goldens")
            return 0
        if args.check_hashes:
            problems = check_hashes(tasks, args.out)
        else:
            commands = {engine.name: engine.prepare(say) for engine in dict.fromkeys(task.engine for task in tasks)}
            if not args.check:
                status = regenerate(tasks, commands, args.out, args.jobs)
                if args.out == GOLDENS:
                    inventory.write(GOLDENS)
                return status
            problems = check_fresh(tasks, commands, args.out, args.jobs) + check_hashes(aside, args.out)
        tasks += aside
        if not args.engine and not args.case:
            for model in dict.fromkeys(task.model for task in tasks):
                problems += strays(args.out, model, tasks)
            if args.out == GOLDENS:
                problems += inventory.problems(GOLDENS)
    except Refused as e:
        say(f"regenerate_goldens: {e}")
        return 2
    for problem in problems:
        print(problem)
    print(f"{len(tasks)} goldens checked, " + (f"{len(problems)} problems: {remedy(tasks, problems)}" if problems
                                               else "all follow from reference/"))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
