"""The engines that make goldens: the sources of each exporter, and the way to make it ready to run."""

import contextlib
import fnmatch
import glob
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

from cases import ROOT
from contract import Refused

CACHE = os.path.join(ROOT, ".cache")


@dataclass(frozen=True)
class Engine:
    """sources are repo-relative paths or patterns of all that the exporter is made of;
    prepare(say) makes the exporter ready and returns the command that runs it."""

    name: str
    sources: tuple
    prepare: callable
    may_leave_out: tuple = ()  # patterns of stages that the engine may not have; its manifest gives the reason
    only_named: str = ""  # why it is made ready only for --engine NAME; else its goldens are checked by hash

    def may_lack(self, rule):
        """Reports whether a rule that no case has is for stages that the engine may not have."""
        return any(fnmatch.fnmatchcase(rule["stages"], pattern) for pattern in self.may_leave_out)

    def source_files(self, root=ROOT):
        """The repo-relative paths, sorted, as the manifest's `exporter` lists them."""
        found = {os.path.relpath(path, root).replace(os.sep, "/")
                 for pattern in self.sources for path in glob.glob(os.path.join(root, pattern), recursive=True)}
        return sorted(path for path in found if os.path.isfile(os.path.join(root, path)))


def run(command, what, show=False, **options):
    """Runs a command; Refused, with the last line it wrote, when it fails. show lets a person watch it."""
    watched = show and sys.stderr.isatty()
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace",
                              stderr=None if watched else subprocess.PIPE, **options)
    except OSError as e:
        raise Refused(f"{what}: {command[0]}: {e.strerror}") from e
    if done.returncode:
        lines = ((done.stderr or "").strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()
        raise Refused(f"{what}: {lines[-1].strip()}")


@contextlib.contextmanager
def locked(name):
    """Holds a lock file in the cache, so that two runs do not prepare the same thing; no lock without fcntl."""
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, name + ".lock"), "w") as f:
        with contextlib.suppress(ImportError):
            import fcntl
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


def python(requirements, say):
    """The python of a virtual environment with exactly these requirements, made when missing.

    All that they need is in a lock file beside them, with hashes."""
    path = os.path.join(ROOT, requirements.replace(".txt", ".lock"))
    with open(path, "rb") as f:
        key = hashlib.sha256(f.read() + sys.version.encode()).hexdigest()[:12]
    engine = os.path.basename(os.path.dirname(path))
    home = os.path.join(CACHE, f"venv-{engine}-{key}")
    ready, interpreter = os.path.join(home, "ready"), os.path.join(home, "bin", "python")
    if os.name == "nt":
        interpreter = os.path.join(home, "Scripts", "python.exe")
    with locked(f"venv-{engine}"):
        if not os.path.exists(ready):
            say(f"installing {requirements} into {os.path.relpath(home, ROOT)}")
            shutil.rmtree(home, ignore_errors=True)
            run([sys.executable, "-m", "venv", home], "python's venv module (Debian: apt-get install python3-venv)")
            run([interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps",
                 "-r", path],
                f"pip install -r {requirements}")
            open(ready, "w").close()
    return interpreter


def float64(say):
    return [python("reference/float64/requirements.txt", say), os.path.join(ROOT, "reference/float64/export.py")]


def tinygrad(say):
    cc = os.environ.get("CC", "")
    compiler = cc if "clang" in cc else "clang"  # as reference/tinygrad/export.py chooses
    if shutil.which(compiler) is None:
        raise Refused(f"tinygrad's CPU backend compiles with {compiler}, which is not installed: "
                      "apt-get install clang, or set CC to a clang")
    os.environ.setdefault("CACHEDB", os.path.join(CACHE, "tinygrad.db"))  # its cache of compiled kernels
    return [python("reference/tinygrad/requirements.txt", say), os.path.join(ROOT, "reference/tinygrad/export.py")]


def cargo(engine, say, takes, *before):
    """The program that cargo builds in reference/<engine>, after the commands before."""
    if shutil.which("cargo") is None:
        raise Refused(f"{engine} is built with cargo, which is not installed: see https://rustup.rs")
    crate = os.path.join(ROOT, "reference", engine)
    target = os.path.join(crate, "target")
    say(f"building reference/{engine} ({takes}, the first time)")
    with locked(engine):
        for command in before:
            run(command, f"reference/{engine}")
        run(["cargo", "build", "--release", "--locked", "--target-dir", target], f"cargo build in reference/{engine}",
            show=True, cwd=crate)
    return [os.path.join(target, "release", f"{engine}-export")]


def candle(say):
    return cargo("candle", say, "minutes")


def mistralrs(say):
    patch = [sys.executable, os.path.join(ROOT, "reference", "mistralrs", "patch.py")]
    return cargo("mistralrs", say, "hundreds of crates: a quarter of an hour and 2 GB", patch)


def transformers(say):
    return [python("reference/transformers/requirements.txt", say), os.path.join(ROOT, "reference/transformers/export.py")]


SHARED = ("reference/contract.py", "reference/dump.py")
OF_CANDLE = "config dump npy options program provenance rules staging weights".split()  # files of Candle's that mistralrs has too
ENGINES = {engine.name: engine for engine in (
    Engine("tinygrad", (*SHARED, "reference/tinygrad/export.py", "reference/tinygrad/requirements.txt"), tinygrad),
    Engine("candle", ("reference/candle/Cargo.toml", "reference/candle/Cargo.lock", "reference/candle/src/**/*.rs"), candle),
    Engine("float64", (*SHARED, "reference/float64/export.py", "reference/float64/gpt2.py",
                       "reference/float64/requirements.txt"), float64),
    Engine("mistralrs", (*(f"reference/candle/src/{name}.rs" for name in OF_CANDLE),
                         "reference/mistralrs/Cargo.toml", "reference/mistralrs/Cargo.lock", "reference/mistralrs/patch.py",
                         "reference/mistralrs/src/**/*.rs", "reference/mistralrs/overlay/**/*.rs",
                         "model/vocab/r50k_base.tiktoken"), mistralrs,
           may_leave_out=("h.[*].attn.scores", "h.[*].attn.probs", "probs_t*"),
           only_named="a quarter of an hour to build"),
    Engine("transformers", (*SHARED, "reference/transformers/export.py", "reference/transformers/requirements.txt"),
           transformers, only_named="2.7 GB to download"),
)}
