#!/usr/bin/env python3
"""Makes .cache/mistralrs-core-VERSION, the copy of mistral.rs's crate that Cargo.toml patches in.

  python3 reference/mistralrs/patch.py

The released crate as cargo downloads it, checked against the SHA-256 below, with every file of overlay/
laid over the one of the same name. Nothing else of it changes, and the copy is never committed. A second
run only replaces missing or changed files, so that nothing is compiled again for no reason.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

VERSION = "0.8.1"
SHA256 = "a2b8b9e5c94491d9ceeded3a30291cb6af6ae74810a5776dd55e3bbb8b3429d4"  # of the .crate, as on crates.io
CRATE = f"mistralrs-core-{VERSION}"
HERE = os.path.dirname(os.path.abspath(__file__))
OVERLAY = os.path.join(HERE, "overlay")
COPY = os.path.join(os.path.dirname(os.path.dirname(HERE)), ".cache", CRATE)


class Refused(Exception):
    """The reason why there is no copy, in one line."""


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def downloaded():
    """The released crate in cargo's own cache, or None."""
    home = os.environ.get("CARGO_HOME") or os.path.expanduser("~/.cargo")
    cache = os.path.join(home, "registry", "cache")
    for registry in sorted(os.listdir(cache)) if os.path.isdir(cache) else []:
        path = os.path.join(cache, registry, CRATE + ".crate")
        if os.path.exists(path) and sha256(path) == SHA256:
            return path
    return None


def download():
    """Has cargo download the released crate, and with it all it depends on at the versions of Cargo.lock."""
    with tempfile.TemporaryDirectory() as scratch:
        os.mkdir(os.path.join(scratch, "src"))
        open(os.path.join(scratch, "src", "lib.rs"), "w").close()
        with open(os.path.join(HERE, "Cargo.toml"), encoding="utf-8") as f:
            manifest = f.read().partition("[patch.crates-io]")[0]
        with open(os.path.join(scratch, "Cargo.toml"), "w", encoding="utf-8") as f:
            f.write(manifest)
        shutil.copy(os.path.join(HERE, "Cargo.lock"), scratch)
        try:
            done = subprocess.run(["cargo", "fetch", "--quiet"], cwd=scratch, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  text=True, errors="replace")
        except OSError as e:
            raise Refused(f"cargo: {e.strerror}: see https://rustup.rs") from e
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("error:")] or ["no reason given"]
        raise Refused(f"cargo fetch, which downloads {CRATE}.crate and what it needs: {lines[0].removeprefix('error:').strip()}")


def overlay():
    """Paths of overlay/'s files, relative to it."""
    return sorted(os.path.relpath(os.path.join(parent, name), OVERLAY)
                  for parent, _, names in os.walk(OVERLAY) for name in names)


def same(a, b):
    return os.path.exists(a) and os.path.exists(b) and sha256(a) == sha256(b)


def unpack(crate):
    """The crate's files at COPY, whole or not at all."""
    os.makedirs(os.path.dirname(COPY), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="." + CRATE, dir=os.path.dirname(COPY)) as scratch:
        with tarfile.open(crate) as archive:
            archive.extractall(scratch, filter="data")
        new = os.path.join(scratch, CRATE)
        for path in overlay():
            if not os.path.exists(os.path.join(new, path)):
                raise Refused(f"{os.path.join(OVERLAY, path)}: {CRATE} has no such file to lay it over")
        # what the crate's build script watches: were it missing, cargo would compile the crate at every build
        os.mkdir(os.path.join(new, ".git"))
        with open(os.path.join(new, ".git", "HEAD"), "w", encoding="utf-8") as f:
            f.write(CRATE + "\n")
        with open(os.path.join(new, "checksum"), "w", encoding="utf-8") as f:
            f.write(checksum(new) + "\n")
        shutil.rmtree(COPY, ignore_errors=True)
        os.rename(new, COPY)


def checksum(folder):
    """The crate's hash, and that of every file but overlay's; a link is only marked as one: a released crate has none."""
    files = []
    for parent, folders, names in os.walk(folder):
        names += [name for name in folders if os.path.islink(os.path.join(parent, name))]
        files += [os.path.relpath(os.path.join(parent, name), folder) for name in names]
    ours = {*overlay(), "checksum"}
    return "\n".join([SHA256, *(f"{mark(os.path.join(folder, path))}  {path}" for path in sorted(files) if path not in ours)])


def mark(path):
    return "link" if os.path.islink(path) else sha256(path)


def unpacked():
    """Reports whether the copy is whole and unchanged."""
    try:
        with open(os.path.join(COPY, "checksum"), encoding="utf-8") as f:
            return f.read() == checksum(COPY) + "\n"
    except OSError:
        return False


def main():
    if sys.argv[1:]:
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    try:
        if not unpacked():
            if downloaded() is None:
                download()
            crate = downloaded()
            if crate is None:
                raise Refused(f"cargo has no {CRATE}.crate with SHA-256 {SHA256}")
            unpack(crate)
        for path in overlay():
            if not same(os.path.join(OVERLAY, path), os.path.join(COPY, path)):
                shutil.copyfile(os.path.join(OVERLAY, path), os.path.join(COPY, path))
    except (Refused, OSError, tarfile.TarError) as e:
        print(f"patch.py: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
