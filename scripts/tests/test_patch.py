"""The copy of mistral.rs that Cargo.toml patches in is the released crate with overlay/ over it, or is made so."""

import hashlib
import importlib.util
import os
import tarfile

import pytest

from conftest import ROOT


@pytest.fixture
def patch(tmp_path, monkeypatch):
    """patch.py on a crate of two files, one of them laid over."""
    spec = importlib.util.spec_from_file_location("patch", os.path.join(ROOT, "reference/mistralrs/patch.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    released, overlay = tmp_path / module.CRATE, tmp_path / "overlay"
    for folder, names in ((released, ("a.rs", "b.rs")), (overlay, ("b.rs",))):
        for name in names:
            (folder / "src").mkdir(parents=True, exist_ok=True)
            (folder / "src" / name).write_text(f"{name} of {folder.name}")
    cache = tmp_path / "home/registry/cache/somewhere"
    cache.mkdir(parents=True)
    crate = cache / (module.CRATE + ".crate")
    with tarfile.open(crate, "w:gz") as archive:
        archive.add(released, module.CRATE)
    monkeypatch.setenv("CARGO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(crate.read_bytes()).hexdigest())
    monkeypatch.setattr(module, "OVERLAY", str(overlay))
    monkeypatch.setattr(module, "COPY", str(tmp_path / "copy"))
    monkeypatch.setattr(module.sys, "argv", ["patch.py"])
    return module


def test_a_copy_that_was_changed_is_made_again(patch, tmp_path):
    a, b = tmp_path / "copy/src/a.rs", tmp_path / "copy/src/b.rs"
    assert patch.main() == 0
    assert a.read_text() == f"a.rs of {patch.CRATE}" and b.read_text() == "b.rs of overlay"
    before = [path.stat().st_mtime_ns for path in (a, b)]
    assert patch.main() == 0
    assert [path.stat().st_mtime_ns for path in (a, b)] == before, "nothing was to be done"
    for change in (lambda: a.write_text("changed"), a.unlink, lambda: (tmp_path / "copy/src/c.rs").write_text("new"),
                   lambda: b.write_text("changed"), (tmp_path / "copy/.git/HEAD").unlink,
                   lambda: (tmp_path / "copy/src/link").symlink_to(tmp_path)):
        change()
        assert patch.main() == 0
        assert a.read_text() == f"a.rs of {patch.CRATE}" and b.read_text() == "b.rs of overlay"
        assert not (tmp_path / "copy/src/c.rs").exists() and not (tmp_path / "copy/src/link").exists()
        assert (tmp_path / "copy/.git/HEAD").exists()


def test_a_crate_of_another_hash_is_refused(patch, monkeypatch, capsys):
    monkeypatch.setattr(patch, "SHA256", "0" * 64)
    monkeypatch.setattr(patch, "download", lambda: None)
    assert patch.main() == 2
    assert "cargo has no" in capsys.readouterr().err and not os.path.exists(patch.COPY)
