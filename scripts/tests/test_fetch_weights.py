"""fetch_weights.py and the Go program's fetch, against a hub of a few lines: each finds what the other fetched."""

import contextlib
import hashlib
import http.server
import importlib.util
import json
import os
import re
import subprocess
import sys
import threading

import pytest

import fetch_weights
from conftest import CONFIG, ROOT, write_model

MISSING = importlib.util.find_spec("huggingface_hub") is None
needs_hub = pytest.mark.skipif(MISSING, reason="huggingface_hub is not installed: pip install -r scripts/requirements.txt")
COMMIT = fetch_weights.PINNED["gpt2-medium"]
REPOSITORY = "openai-community/gpt2-medium"


class Server:
    """A hub: large files are redirected to another name of this machine, with their hash on the redirect."""

    def __init__(self):
        self.files, self.requests, self.damage = {}, [], False
        self.cdn = self.listen(self.content)
        self.hub = self.listen(self.resolve)
        self.url = f"http://127.0.0.1:{self.hub.server_port}"

    def listen(self, answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                answer(self)

            do_GET = do_HEAD

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def close(self):
        for server in (self.hub, self.cdn):
            server.shutdown()
            server.server_close()

    @staticmethod
    def reply(handler, status, headers, body=b""):
        handler.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)

    def resolve(self, handler):
        self.requests.append(f"{handler.command} {handler.path}")
        match = re.fullmatch(rf"/{REPOSITORY}/resolve/({COMMIT}|main)/([\w.-]+)", handler.path)
        if not match:
            return self.reply(handler, 404, {"X-Error-Code": "RepoNotFound"})
        body = self.files.get(match[2])
        if body is None:
            return self.reply(handler, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        if not match[2].endswith(".safetensors"):
            etag = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
            return self.reply(handler, 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}, body)
        return self.reply(handler, 302, {
            "X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Linked-Size": len(body),
            "Location": f"http://localhost:{self.cdn.server_port}/{match[2]}"})

    def content(self, handler):
        self.requests.append(f"{handler.command} cdn {handler.path}")
        body = self.files[handler.path[1:]]
        self.reply(handler, 200, {}, body[:-1] + bytes([body[-1] ^ 1]) if self.damage else body)


@pytest.fixture
def server(tmp_path):
    """A hub with a micro model in it."""
    folder = write_model(tmp_path / "micro")
    s = Server()
    s.files = {file: (folder / file).read_bytes() for file in ("config.json", "model.safetensors")}
    with contextlib.closing(s):
        yield s


def run(server, cache, *command, status=0, **more):
    """Runs a command whose hub is the server; returns (stdout, stderr)."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "CHECKPOINT12_"))}
    env |= {"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(cache), "HF_HOME": str(cache) + "-home",
            "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1", **more}
    done = subprocess.run([str(c) for c in command], env=env, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def script(server, cache, *arguments, **more):
    return run(server, cache, sys.executable, os.path.join(ROOT, "scripts", "fetch_weights.py"), *arguments, **more)


def python(server, cache, code, **more):
    """Runs code with huggingface_hub's functions, which reads its variables when it is imported."""
    return run(server, cache, sys.executable, "-c", "from huggingface_hub import hf_hub_download, snapshot_download\n" + code, **more)[0]


def tree(cache):
    """path -> where it leads, or its content; locks and tags are not the model."""
    found = {}
    for folder, _, files in os.walk(cache):
        for file in files:
            path = os.path.join(folder, file)
            name = os.path.relpath(path, cache)
            if not name.startswith(("models--",)) or os.sep + ".no_exist" + os.sep in name:
                continue
            if os.path.islink(path):
                found[name] = os.readlink(path)
            else:
                with open(path, "rb") as f:
                    found[name] = f.read()
    return found


def make_shards(server):
    weights = server.files.pop("model.safetensors")
    server.files |= {"model-00001-of-00002.safetensors": weights, "model-00002-of-00002.safetensors": weights[:-1] + b"x"}
    server.files["model.safetensors.index.json"] = json.dumps(
        {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors", "wpe.weight": "model-00002-of-00002.safetensors"}}).encode()


@needs_hub
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("revision", [[], ["--revision", "main"]])
def test_both_end_with_the_same_files(server, checkpoint12, tmp_path, sharded, revision):
    if sharded:
        make_shards(server)
    server.files["pytorch_model.bin"] = b"a program"
    ours, _ = run(server, tmp_path / "go", checkpoint12, "fetch", "gpt2-medium", *revision)
    theirs, _ = script(server, tmp_path / "python", "gpt2-medium", *revision)
    found = tree(tmp_path / "go")
    assert found == tree(tmp_path / "python")
    assert sum(os.sep + "snapshots" + os.sep in name for name in found) == len(server.files) - 1  # all but the pickle
    assert ours.split() == theirs.replace(str(tmp_path / "python"), str(tmp_path / "go")).split() and "sha256" in ours
    assert not any("GET" in r and "pytorch_model.bin" in r for r in server.requests)


@needs_hub
@pytest.mark.parametrize("revision", ["None", repr(COMMIT), "'main'"])
def test_huggingface_hub_finds_what_go_fetched(server, checkpoint12, tmp_path, revision):
    run(server, tmp_path / "hub", checkpoint12, "fetch", "gpt2-medium")
    out = python(server, tmp_path / "hub", f"""
for file in "config.json", "model.safetensors":
    print(hf_hub_download({REPOSITORY!r}, file, revision={revision}, local_files_only=True))
print(snapshot_download({REPOSITORY!r}, revision={revision}, local_files_only=True))""")
    config, weights, folder = out.split()
    assert os.path.dirname(config) == os.path.dirname(weights) == folder
    with open(weights, "rb") as f:
        assert f.read() == server.files["model.safetensors"]


@needs_hub
@pytest.mark.parametrize("sharded", [False, True])
def test_go_uses_what_huggingface_hub_fetched(server, checkpoint12, tmp_path, sharded):
    if sharded:
        make_shards(server)
    for file in server.files:
        python(server, tmp_path / "hub", f"hf_hub_download({REPOSITORY!r}, {file!r})")
    before, server.requests[:] = tree(tmp_path / "hub"), []
    run(server, tmp_path / "hub", checkpoint12, "fetch", "gpt2-medium")
    assert server.requests == [] and tree(tmp_path / "hub") == before
    run(server, tmp_path / "hub", checkpoint12, "fetch", "gpt2-medium", "--revision", "main", HF_HUB_OFFLINE="1")
    script(server, tmp_path / "hub", "gpt2-medium", HF_HUB_OFFLINE="1")
    assert server.requests == [] and tree(tmp_path / "hub") == before
    if not sharded:
        out = tmp_path / "dump"
        run(server, tmp_path / "hub", checkpoint12, "dump", "--model", "gpt2-medium", "--tokens", "1,2", "--new", "2", "--out", out)
        assert (out / "tokens.npy").exists() and server.requests == []


@needs_hub
def test_a_wrong_body_is_seen(server, checkpoint12, tmp_path):
    """huggingface_hub keeps it; neither of ours does, nor uses the file that it kept."""
    server.damage = True
    python(server, tmp_path / "theirs", f"hf_hub_download({REPOSITORY!r}, 'model.safetensors')\nhf_hub_download({REPOSITORY!r}, 'config.json')")
    for cache in "theirs", "empty":
        _, stderr = script(server, tmp_path / cache, "gpt2-medium", status=2)
        assert "model.safetensors: the download has another hash than the hub's file" in stderr and stderr.count("\n") == 1
        assert not any("model.safetensors" in name for name in tree(tmp_path / cache))
    python(server, tmp_path / "theirs", f"hf_hub_download({REPOSITORY!r}, 'model.safetensors')")
    _, stderr = run(server, tmp_path / "theirs", checkpoint12, "fetch", "gpt2-medium", status=2)
    assert "they are not the file" in stderr
    server.damage = False
    run(server, tmp_path / "theirs", checkpoint12, "fetch", "gpt2-medium")
    run(server, tmp_path / "empty", checkpoint12, "fetch", "gpt2-medium")
    script(server, tmp_path / "python", "gpt2-medium")
    assert tree(tmp_path / "theirs") == tree(tmp_path / "empty") == tree(tmp_path / "python")


@needs_hub
def test_refusals(server, tmp_path):
    for name in "../x", "gpt3", "a/b/c", "/x", "a/..", "", "x\n/y":
        _, stderr = script(server, tmp_path / "hub", name, status=2)
        assert f"no model is called {name!r}" in stderr and stderr.count("\n") == 1
    _, stderr = script(server, tmp_path / "hub", "gpt2-medium", "--revision", "nowhere", status=2)
    assert stderr.startswith("fetch_weights: error: openai-community/gpt2-medium: ") and stderr.count("\n") == 1
    weights = server.files.pop("model.safetensors")
    _, stderr = script(server, tmp_path / "hub", "gpt2-medium", status=2)
    assert "has no model.safetensors" in stderr
    server.files["pytorch_model.bin"] = b"a program"
    _, stderr = script(server, tmp_path / "hub", "gpt2-medium", status=2)
    assert "only pickled weights (pytorch_model.bin)" in stderr
    server.files |= {"config.json": json.dumps(CONFIG | {"model_type": "llama"}).encode(), "model.safetensors": weights}
    _, stderr = script(server, tmp_path / "other", "gpt2-medium", status=2)
    assert "model_type is 'llama'" in stderr
    assert not any("GET" in r and "cdn" in r for r in server.requests)
    _, stderr = script(server, tmp_path / "nothing", "gpt2-medium", status=2, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE" in stderr
    _, stderr = script(server, tmp_path / "nothing", "gpt2-medium", status=2, HF_ENDPOINT=f"{server.url}/elsewhere")
    assert "fetch_weights: error: openai-community/gpt2-medium: " in stderr


@needs_hub
def test_an_unreachable_hub_is_named_as_the_cause(monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def unreachable(*_, **__):
        raise LocalEntryNotFoundError("not in the cache") from OSError("connection refused")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(fetch_weights.Refused, match="connection refused: check the network"):
        fetch_weights.Hub("a/b", "main").call(unreachable)


@pytest.mark.parametrize("content", [b"", b"x", b"[]", b"{}", b'{"weight_map": 1}', b'{"weight_map": {"x": "../a.safetensors"}}',
                                     b'{"weight_map": {"x": "a.bin"}}', b'{"weight_map": {"x": 1}}', b'{"weight_map": {"x": "a/b.safetensors"}}'])
def test_shards_refuses(tmp_path, content):
    (tmp_path / "index").write_bytes(content)
    with pytest.raises(fetch_weights.Refused):
        fetch_weights.shards(tmp_path / "index")


def test_pins_are_those_of_go():
    with open(os.path.join(ROOT, "model", "zoo", "zoo.go"), encoding="utf-8") as f:
        assert dict(re.findall(r'\{"(gpt2[\w-]*)", "([0-9a-f]{40})", ', f.read())) == fetch_weights.PINNED
