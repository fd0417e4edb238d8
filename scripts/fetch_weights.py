#!/usr/bin/env python3
"""Downloads a GPT-2 with huggingface_hub, as `go run . fetch` does without Python: the same files in the same places.

  python3 scripts/fetch_weights.py gpt2-medium
  python3 scripts/fetch_weights.py OWNER/NAME --revision main

Only config.json and safetensors: weights as pickles are programs, and are never downloaded. Each file is
checked by the hub's own hash of it, which huggingface_hub does not do. Its variables (HF_HOME, HF_TOKEN,
HF_ENDPOINT, HF_HUB_OFFLINE…) hold. Where it is not installed it is, into .cache/, as scripts/requirements.txt
has it. Prints each weight file with its SHA-256. Exit status: 0 done, 2 something could not be had.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys

import engines
from contract import Refused

OWNER = "openai-community"
# The commits that published figures refer to, as model/zoo/zoo.go has them.
PINNED = {
    "gpt2": "607a30d783dfa663caf39e06633721c8d4cfcd7e",
    "gpt2-medium": "6dcaa7a952f72f9298047fd5137cd6e4f05f41da",
    "gpt2-large": "32b71b12589c2f8d625668d2335a01cac3249519",
    "gpt2-xl": "15ea56dee5df4983c59b2538573817e1667135e2",
}
CONFIG, WEIGHTS, INDEX, PICKLED = "config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"


def source(name):
    """(repository, commit or None) of a name."""
    short = name.removeprefix(OWNER + "/")
    if short in PINNED:
        return f"{OWNER}/{short}", PINNED[short]
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", name, re.ASCII) or ".." in name:
        raise Refused(f"no model is called {name!r}: want one of {', '.join(PINNED)}, or OWNER/NAME on the hub")
    return name, None


class Hub:
    """One repository at one revision; every error of huggingface_hub is Refused, with its first line."""

    def __init__(self, repository, revision):
        self.repository, self.revision = repository, revision

    def call(self, function, *arguments, **options):
        from huggingface_hub import constants
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
        try:
            return function(*arguments, **options)
        except LocalEntryNotFoundError as e:  # raised for a hub that cannot be reached, too
            if constants.HF_HUB_OFFLINE:
                raise
            raise Refused(f"{self.repository}: {first_line(e.__cause__ or e)}: check the network and HF_ENDPOINT") from e
        except EntryNotFoundError:
            raise
        except Exception as e:  # httpx's errors, OSError, ValueError: it has no base of its own
            raise Refused(f"{self.repository}: {first_line(e)}") from e

    def get(self, file):
        """The path of a file in the cache, right by the hub's hash; None if the repository has none."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError
        try:
            path = self.call(hf_hub_download, self.repository, file, revision=self.revision)
        except EntryNotFoundError:
            return None
        want = self.hash(path, file)
        if want and content_hash(path, want) != want:
            for wrong in {os.path.realpath(path), path}:
                os.remove(wrong)
            raise Refused(f"{file}: the download has another hash than the hub's file, and is removed: run this again")
        return path

    def address(self, file):
        from huggingface_hub import hf_hub_url
        return hf_hub_url(self.repository, file, revision=self.revision, endpoint=os.environ.get("HF_ENDPOINT") or None)

    def hash(self, path, file):
        """The hub's own hash of the content: the name of the blob, where the cache has links."""
        from huggingface_hub import constants, get_hf_file_metadata
        if os.path.islink(path):
            return os.path.basename(os.readlink(path))
        if constants.HF_HUB_OFFLINE:
            return None
        return self.call(get_hf_file_metadata, self.address(file)).etag

    def has(self, file):
        from huggingface_hub import get_hf_file_metadata
        from huggingface_hub.errors import EntryNotFoundError
        try:
            return bool(self.call(get_hf_file_metadata, self.address(file)))
        except (EntryNotFoundError, Refused):
            return False


def first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def content_hash(path, like):
    """SHA-256 where `like` is one, else git's blob hash."""
    h = hashlib.sha256()
    if len(like) != h.digest_size * 2:
        h = hashlib.sha1(b"blob %d\0" % os.path.getsize(path))
    with open(path, "rb") as f:
        while piece := f.read(1 << 20):
            h.update(piece)
    return h.hexdigest()


def shards(path):
    """The weight files that an index names; none may lie elsewhere, nor be anything but safetensors."""
    try:
        with open(path, encoding="utf-8") as f:
            names = sorted(set(json.load(f)["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise Refused(f"{path}: no index of weights: {e!r}") from e
    for name in names:
        if not re.fullmatch(r"[\w-][\w.-]*\.safetensors", str(name), re.ASCII):
            raise Refused(f"{path}: {name!r} is not a safetensors file of this folder")
    return names


def fetch(name, revision):
    """The paths of the weight files."""
    repository, commit = source(name)
    hub = Hub(repository, revision or commit or "main")
    config = hub.get(CONFIG)
    if config is None:
        raise Refused(f"{repository}: has no {CONFIG} at {hub.revision!r}, or it is not in the cache and HF_HUB_OFFLINE is set")
    try:
        with open(config, encoding="utf-8") as f:
            kind = json.load(f)["model_type"]
    except (ValueError, KeyError, TypeError) as e:
        raise Refused(f"{config}: not a model's config: {e!r}") from e
    if kind != "gpt2":
        raise Refused(f"{repository}: {CONFIG}: model_type is {kind!r}, not 'gpt2'")
    asked, hub.revision = hub.revision, os.path.basename(os.path.dirname(config))
    single, index = hub.get(WEIGHTS), None
    if single is None:
        index = hub.get(INDEX)
        if index is None:
            what = f"only pickled weights ({PICKLED}), which are programs and are not downloaded" if hub.has(PICKLED) else f"no {WEIGHTS}"
            raise Refused(f"{repository} at {hub.revision[:12]} has {what}: look for a revision or another model with safetensors")
    paths = [single] if single else [hub.get(shard) for shard in shards(index)]
    if None in paths:
        raise Refused(f"{repository}: {INDEX} names files that are not there")
    if asked == hub.revision:
        note_main(hub)
    return paths


def note_main(hub):
    """Notes in the cache that a commit is main, if the hub has it so, for readers that ask for no revision."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download
    if constants.HF_HUB_OFFLINE:
        return
    commit, hub.revision = hub.revision, "main"
    try:
        if get_hf_file_metadata(hub.address(CONFIG)).commit_hash == commit:
            hf_hub_download(hub.repository, CONFIG, revision="main")
    except Exception:  # it is no more than a convenience
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="gpt2, gpt2-medium, gpt2-large, gpt2-xl, or OWNER/NAME of a GPT-2 on the hub")
    parser.add_argument("--revision", help="a branch, a tag or a commit; else the commit of the figures, or main")
    arguments = parser.parse_args()
    try:
        source(arguments.name)
        if importlib.util.find_spec("huggingface_hub") is None:
            python = engines.python("scripts/requirements.txt", lambda text: print(text, file=sys.stderr))
            return subprocess.run([python, *sys.argv]).returncode
        for path in fetch(arguments.name, arguments.revision):
            print(f"{arguments.name}: {path}  sha256 {content_hash(path, '0' * 64)}")
    except Refused as e:
        print(f"fetch_weights: error: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("fetch_weights: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main())
