"""The Go readers of .npy, .npz and safetensors files against numpy's and safetensors' own, on files made and damaged here."""

import base64
import io
import json
import os
import random
import shutil
import struct
import subprocess
import zipfile

import numpy as np
import pytest

from conftest import ROOT

FILES = 6000
WORDS = [b"True", b"False", b"None", b"0", b"1", b"2", b"-1", b"10", b"99999999999", b"(", b")", b"()", b"[", b"]", b"{", b"}", b",", b":",
         b" ", b"\t", b"\n", b"L", b"'", b'"', b"<f4", b">f4", b"=f4", b"|f4", b"f4", b"<f8", b"<f2", b"<i8", b"<i4", b"|b1", b"|O",
         b"'descr'", b"'shape'", b"'fortran_order'", b"\\u0041", b"null", b"1e0", b"1.0", b"0x1", b"1_0", b"F32", b"F16", b"BF16", b"I64",
         b'"dtype"', b'"shape"', b'"data_offsets"', b'"__metadata__"', b"\x00", b"\xff"]


def damaged(rng, data, end):
    """The data with a few things changed before end, or its length."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(min(end, len(data)) + 1) if data else 0
        kind = rng.randrange(7)
        if kind == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 1:
            data[at:at] = rng.choice(WORDS)
        elif kind == 2:
            del data[at:at + rng.randint(1, 3)]
        elif kind == 3:
            word = rng.choice(WORDS)
            data[at:at + len(word)] = word
        elif kind == 4 and at < len(data):
            data[at] = (data[at] + rng.choice((-1, 1))) % 256
        elif kind == 5:
            del data[len(data) - rng.randint(0, 5):]
        else:
            data += bytes(rng.randint(1, 5))
    return bytes(data)


def held(package, variable, lines, tmp_path, test="TestPython"):
    """Runs the Go test of a package that reads the lines."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed")
    path = tmp_path / "lines"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    done = subprocess.run(["go", "test", "-count=1", "-v", "-run", f"^{test}$", package], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, variable: str(path)})
    assert done.returncode == 0 and f"--- PASS: {test} " in done.stdout, done.stdout + done.stderr


def encoded(data):
    return base64.b64encode(data).decode()


def numpy_reads(data):
    """What numpy reads, as float32 or int64, or None where it refuses."""
    try:
        x = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception:
        return None
    if x.dtype.kind not in "fi":
        return None
    with np.errstate(all="ignore"):
        return x.astype("<f4" if x.dtype.kind == "f" else "<i8")


def random_array(rng):
    """The bytes of a .npy file that numpy writes, and how many of them are values."""
    descr = rng.choice(["<f4", "<f4", "<i8", "<f2", "<f8", ">f4", "<i4"])
    shape = tuple(rng.choice((0, 1, 2, 3, 5)) for _ in range(rng.randint(0, 4)))
    values = np.array([rng.choice((0, 1, -2.5, 1e-40, 3e38, np.inf, np.nan, 65504)) if "f" in descr else rng.randint(-2**31, 2**31 - 1)
                       for _ in range(int(np.prod(shape)))])
    with np.errstate(over="ignore"):
        x = values.astype(descr).reshape(shape)
    f = io.BytesIO()
    np.lib.format.write_array(f, x, version=rng.choice(((1, 0), (2, 0), (3, 0))))
    return f.getvalue(), x.nbytes


@pytest.mark.filterwarnings("ignore")  # numpy's, of headers that it doubts
def test_npy(tmp_path):
    rng, lines = random.Random(1), []
    for i in range(FILES):
        (data, values), whole = random_array(rng), i % 10 == 0
        if not whole:
            data = damaged(rng, data, len(data) - values)
        got = numpy_reads(data)
        lines.append({"file": encoded(data), "whole": whole, "taken": got is not None,
                      "shape": [] if got is None else list(got.shape), "values": "" if got is None else encoded(got.tobytes())})
    held("./harness/npy", "CHECKPOINT12_NUMPY", lines, tmp_path)


def arrays(data):
    """The files named .npy in an archive, as Python's zipfile and numpy read them."""
    read = {}
    try:
        z = zipfile.ZipFile(io.BytesIO(data))
    except Exception:
        return read
    for name in z.namelist():
        try:
            got = numpy_reads(z.read(name))
        except Exception:  # a sum that is wrong, a name other than in the directory
            continue
        if got is not None:
            read[name] = {"shape": list(got.shape), "values": encoded(got.tobytes())}
    return read


@pytest.mark.filterwarnings("ignore")
def test_npz(tmp_path):
    rng, lines = random.Random(3), []
    for i in range(FILES):
        f, whole = io.BytesIO(), i % 10 == 0
        with zipfile.ZipFile(f, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as z:
            for name in rng.sample(["a.npy", "step_00/h.0.ln_1.npy", "tokens.npy"], rng.randint(1, 3)):
                data, values = random_array(rng)
                if not whole and rng.randrange(3) == 0:
                    data = damaged(rng, data, len(data) - values)
                z.writestr(name, data)
        data = f.getvalue()
        packing = not whole and rng.randrange(2) == 0
        if packing:
            data = damaged(rng, data, len(data))
        lines.append({"file": encoded(data), "whole": whole, "packing": packing, "arrays": arrays(data)})
    held("./harness/npy", "CHECKPOINT12_ARCHIVES", lines, tmp_path, "TestPythonArchives")


STORED = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I32": "<i4", "I64": "<i8"}  # numpy's names


def in_memory(dtype, data):
    """The bytes of values as float32 or int64; none of another type. What is more than float32 holds is NaN."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).tobytes()
    if dtype not in STORED:
        return b""
    values = np.frombuffer(data, STORED[dtype])
    if dtype[0] == "I":
        return values.astype("<i8").tobytes()
    with np.errstate(all="ignore"):
        narrow = values.astype("<f4")
    narrow[(narrow == np.inf) & (values < np.inf)] = np.nan
    return narrow.tobytes()


def safetensors_files(rng, names, dtypes):
    """FILES times the bytes of a file, whether it is as it should be, and what the Python package reads, or None."""
    safetensors = pytest.importorskip("safetensors")
    for i in range(FILES):
        header, data = {}, b""
        if rng.randrange(3) == 0:
            header["__metadata__"] = {"format": "pt"}
        for name in rng.sample(names, rng.randint(0, 4)):
            dtype, size = rng.choice(dtypes)
            shape = [rng.choice((0, 1, 2, 3)) for _ in range(rng.randint(0, 3))]
            part = rng.randbytes(size * int(np.prod(shape)))
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
            data += part
        text = json.dumps(header, ensure_ascii=rng.random() < 0.5, separators=rng.choice(((",", ":"), (", ", ": ")))).encode()
        text += b" " * (-len(text) % 8)
        whole = i % 10 == 0
        if not whole:
            text = damaged(rng, text, len(text))
        file = struct.pack("<q", len(text) + (0 if whole else rng.choice((0, 0, 0, 0, 0, 0, 1, -1, 8)))) + text + data
        if not whole and rng.randrange(10) == 0:
            file = damaged(rng, file, len(file))
        try:
            tensors = {name: (t["dtype"], t["shape"], bytes(t["data"])) for name, t in safetensors.deserialize(file)}
        except Exception:
            tensors = None
        yield file, whole, tensors


def test_safetensors(tmp_path):
    names, dtypes = ["a", "b.weight", "h.0.ln_1.bias", "ü", ""], (("F32", 4), ("F32", 4), ("F16", 2), ("BF16", 2))
    lines = [{"file": encoded(file), "whole": whole, "taken": tensors is not None,
              "tensors": tensors and {name: {"dtype": dtype, "shape": shape,
                                             "values": encoded(in_memory(dtype, data)) if dtype in ("F32", "F16", "BF16") else ""}
                                      for name, (dtype, shape, data) in tensors.items()}}
             for file, whole, tensors in safetensors_files(random.Random(2), names, dtypes)]
    held("./model/safetensors", "CHECKPOINT12_SAFETENSORS", lines, tmp_path)


def test_safetensors_of_a_run(tmp_path):
    names, dtypes = ["tokens", "attention_mask", "step_00/wte", "step_01/h.0.ln_1", "ü"], [
        ("F32", 4), ("F64", 8), ("F16", 2), ("BF16", 2), ("I32", 4), ("I64", 8)]
    lines = [{"file": encoded(file), "whole": whole, "safetensors": True,
              "arrays": {name + ".npy": {"shape": shape, "values": encoded(in_memory(dtype, data))}
                         for name, (dtype, shape, data) in (tensors or {}).items()}}
             for file, whole, tensors in safetensors_files(random.Random(4), names, dtypes)]
    held("./harness/npy", "CHECKPOINT12_ARCHIVES", lines, tmp_path, "TestPythonArchives")
