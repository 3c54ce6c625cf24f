"""Damaged files by the hundred: one line that says what is wrong or a whole result, never a traceback or half of one.

Mutations are drawn by a seeded generator; the fast sample is the beginning of what the slow tests go through.
"""

import json
import random
import shutil
import struct

import nibabel
import numpy as np
import pytest

from qsm_recon import run as run_module
from qsm_recon.commands import lcurve
from qsm_recon.datasets import case_from_files
from qsm_recon.datasets.registry import load_case
from qsm_recon.errors import QSMError
from qsm_recon.io import load_image
from qsm_recon.report.tuning import TuningSession

from .conftest import require_whole

FAST, FULL = 40, {"header": 80, "header read": 700, "data": 60, "sidecar": 400, "index": 200}
HEADER_BYTES = 352
NUMBERS = (0, 1, -1, 7, 127, 255, 32767, -32768, 2**31 - 1, -(2**31))
FLOATS = (0.0, -1.0, 1e-38, 1e38, float("nan"), float("inf"), float("-inf"), 1e-3, 3.0)

# Fields of a NIfTI-1 header: offset, format.
FIELDS = {
    "sizeof_hdr": (0, "<i"), "dim0": (40, "<h"), "dim1": (42, "<h"), "dim2": (44, "<h"), "dim3": (46, "<h"),
    "dim4": (48, "<h"), "dim5": (50, "<h"), "intent_code": (68, "<h"), "datatype": (70, "<h"), "bitpix": (72, "<h"),
    "pixdim0": (76, "<f"), "pixdim1": (80, "<f"), "pixdim2": (84, "<f"), "pixdim3": (88, "<f"), "pixdim4": (92, "<f"),
    "vox_offset": (108, "<f"), "scl_slope": (112, "<f"), "scl_inter": (116, "<f"), "xyzt_units": (123, "<b"),
    "qform_code": (252, "<h"), "sform_code": (254, "<h"), "quatern_b": (256, "<f"), "quatern_c": (260, "<f"),
    "qoffset_x": (268, "<f"), "srow_x0": (280, "<f"), "srow_x1": (284, "<f"), "srow_y1": (300, "<f"),
    "srow_z2": (320, "<f"), "srow_z3": (324, "<f"), "magic": (344, "<i"), "extension": (348, "<i"),
}  # fmt: skip
DATATYPES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, 77)


@pytest.fixture
def options(ball, tmp_path, monkeypatch):
    """Options of a quick run on copies of the files."""
    shutil.copytree(ball, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    image = nibabel.load("field.nii.gz")
    nibabel.save(image, "field.nii")
    return ["--algo", "tkd", "--quiet", "--field", "field.nii", "--field-unit", "ppm", "--mask", "mask.nii.gz"]


KNOWN = {"one line that says what is wrong", "read, nothing that counts was damaged"}


def mutated_header(content, rng):
    """A header with one to three of its fields, or some of its bytes, replaced."""
    damaged = bytearray(content)
    kind = rng.random()
    if kind < 0.75:
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            name = rng.choice(list(FIELDS))
            offset, form = FIELDS[name]
            value = rng.choice(FLOATS if form == "<f" else DATATYPES if name == "datatype" else NUMBERS)
            if form != "<f":
                bits = 8 * struct.calcsize(form)
                value = (int(value) + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
            struct.pack_into(form, damaged, offset, value)
    elif kind < 0.9:
        for _ in range(rng.randint(1, 12)):
            damaged[rng.randrange(HEADER_BYTES)] = rng.randrange(256)
    else:
        return bytes(damaged[: rng.randrange(len(damaged))])
    return bytes(damaged)


def mutated_data(content, rng):
    """A compressed image cut off, with flipped bytes, or with values that no image has."""
    kind = rng.random()
    if kind < 0.3:
        return content[: rng.randrange(1, len(content))]
    damaged = bytearray(content)
    for _ in range(rng.randint(1, 40)):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def mutated_values(image, rng):
    """Voxels replaced by what a sum or a division may have left there."""
    data = np.asarray(image).astype(np.float64)
    for _ in range(rng.randint(1, 30)):
        where = tuple(rng.randrange(n) for n in data.shape)
        data[where] = rng.choice((*FLOATS, 1e300, -1e-300))
    return data


def run_once(options, out, capsys, module=run_module):
    """One run in this process; returns a word for what happened."""
    capsys.readouterr()
    try:
        code = module.main([*options, "--out", str(out)])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr().err
    assert "Traceback" not in said, said
    if code in (0, 3):
        assert require_whole(out) >= 3
        assert np.isfinite(load_image(out / "chi.nii.gz").data).all()
        shutil.rmtree(out)
        return "a whole result"
    assert code == 2, (code, said)
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, said
    assert not out.exists(), "something was written"
    return "one line that says what is wrong"


def tally(outcomes, word):
    outcomes[word] = outcomes.get(word, 0) + 1


def fuzz_headers(options, folder, capsys, number):
    content, rng, outcomes = (folder / "field.nii").read_bytes(), random.Random(11), {}
    for _ in range(number):
        (folder / "field.nii").write_bytes(mutated_header(content, rng))
        tally(outcomes, run_once(options, folder / "out", capsys))
    (folder / "field.nii").write_bytes(content)
    return outcomes


def fuzz_reading(folder, number):
    """Headers as :func:`case_from_files` reads them, without the reconstruction, so that there can be many."""
    content, rng, outcomes = (folder / "field.nii").read_bytes(), random.Random(21), {}
    for _ in range(number):
        (folder / "field.nii").write_bytes(mutated_header(content, rng))
        try:
            case = case_from_files(field=folder / "field.nii", mask=folder / "mask.nii.gz")
        except QSMError as error:
            lines = len(str(error).strip().splitlines())
            tally(outcomes, "one line that says what is wrong" if lines == 1 else f"{lines} lines: {error}")
        else:
            assert case.problem.mask.any()
            assert np.isfinite(case.problem.field_ppm[case.problem.mask]).all()
            assert np.isfinite(case.problem.grid.voxel_size_mm).all()
            tally(outcomes, "read, nothing that counts was damaged")
    (folder / "field.nii").write_bytes(content)
    return outcomes


def fuzz_data(options, folder, capsys, number):
    rng, outcomes = random.Random(12), {}
    names = ("field.nii.gz", "mask.nii.gz", "magnitude.nii.gz")
    contents = {name: (folder / name).read_bytes() for name in names}
    words = ["field.nii.gz" if word == "field.nii" else word for word in options] + ["--magnitude", "magnitude.nii.gz"]
    for _ in range(number):
        name = rng.choice(names)
        if rng.random() < 0.5:
            (folder / name).write_bytes(mutated_data(contents[name], rng))
        else:
            (folder / name).write_bytes(contents[name])
            image = nibabel.load(folder / name)
            nibabel.save(nibabel.Nifti1Image(mutated_values(image.dataobj, rng), image.affine), folder / name)
        tally(outcomes, run_once(words, folder / "out", capsys))
        (folder / name).write_bytes(contents[name])
    return outcomes


VALUES = (
    None,
    True,
    "",
    "7T",
    "0.005",
    -1,
    0,
    1e400,
    float("nan"),
    10**400,
    [],
    [1, 2],
    {},
    {"a": 1},
    "\x00",
    5000,
    1e-300,
)


def mutated_json(content, rng):
    """JSON with a value replaced, a key lost, or its text damaged."""
    kind = rng.random()
    if kind < 0.65:
        document = json.loads(content)
        node = document
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = rng.choice(keys)
            if isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.7:
                node = node[key]
                continue
            if rng.random() < 0.2:
                del node[key]
            else:
                node[key] = rng.choice(VALUES)
            break
        return json.dumps(document).encode()
    damaged = bytearray(content)
    if kind < 0.8:
        return bytes(damaged[: rng.randrange(len(damaged))])
    for _ in range(rng.randint(1, 8)):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


@pytest.fixture
def bids(ball, tmp_path):
    """A data set of one acquisition of two echoes."""
    from qsm_recon.io import save_image

    root = tmp_path / "study"
    mask = load_image(ball / "mask.nii.gz").data
    field = load_image(ball / "field.nii.gz").data
    for echo, seconds in enumerate((0.005, 0.015), start=1):
        for part, image in (("mag", mask * np.exp(-20 * seconds)), ("phase", np.sin(800 * seconds * field))):
            path = root / "sub-1" / "anat" / f"sub-1_echo-{echo}_part-{part}_MEGRE.nii.gz"
            save_image(path, image.astype(np.float32), np.eye(4))
            sidecar = {"EchoTime": seconds, "MagneticFieldStrength": 3.0, "ImageType": ["ORIGINAL", "P"]}
            sidecar |= {"Units": "rad"} if part == "phase" else {}
            path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    save_image(root / "derivatives" / "bet" / "sub-1" / "anat" / "sub-1_mask.nii.gz", mask > 0, np.eye(4))
    (root / "dataset_description.json").write_text(json.dumps({"Name": "ball", "BIDSVersion": "1.9.0"}))
    return root


def fuzz_sidecars(root, number):
    rng, outcomes = random.Random(13), {}
    paths = sorted(root.rglob("*.json"))
    for _ in range(number):
        path = rng.choice(paths)
        content = path.read_bytes()
        path.write_bytes(mutated_json(content, rng))
        try:
            case = load_case(f"bids:{root}?subject=1")
        except QSMError as error:
            lines = len(str(error).strip().splitlines())
            tally(outcomes, "one line that says what is wrong" if lines == 1 else f"{lines} lines")
        else:
            assert all(np.isfinite(t) and 0 < t < 1 for t in case.problem.echo_times_s)
            tally(outcomes, "read, nothing that counts was damaged")
        path.write_bytes(content)
    return outcomes


def fuzz_indexes(options, folder, capsys, number):
    """Session indexes: the same command refuses by one line, or goes on to a whole session."""
    out = folder / "session"
    words = [word if word != "tkd" else "tikhonov" for word in options] + ["--points", "7", "--out", str(out)]
    assert lcurve.main(words) in (0, 3)
    rng, outcomes = random.Random(14), {}
    index = out / "session.json"
    content = index.read_bytes()
    for _ in range(number):
        index.write_bytes(mutated_json(content, rng))
        capsys.readouterr()
        try:
            code = lcurve.main(words)
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr().err
        assert "Traceback" not in said, said
        if code == 2:
            assert sum(line.startswith("error: ") for line in said.splitlines()) == 1, said
            tally(outcomes, "one line that says what is wrong")
            index.write_bytes(content)
        else:
            assert code in (0, 3)
            require_whole(out)
            assert TuningSession.open(out).points
            tally(outcomes, "a whole session")
    return outcomes


def test_sample_of_headers(options, tmp_path, capsys):
    assert sum(fuzz_headers(options, tmp_path, capsys, FAST // 5).values()) == FAST // 5


def test_sample_of_reading_headers(options, tmp_path):
    outcomes = fuzz_reading(tmp_path, FAST)
    assert set(outcomes) <= KNOWN
    assert sum(outcomes.values()) == FAST


def test_sample_of_data(options, tmp_path, capsys):
    assert sum(fuzz_data(options, tmp_path, capsys, FAST // 5).values()) == FAST // 5


def test_sample_of_sidecars(bids):
    outcomes = fuzz_sidecars(bids, FAST)
    assert set(outcomes) <= KNOWN
    assert sum(outcomes.values()) == FAST


def test_sample_of_indexes(options, tmp_path, capsys):
    assert sum(fuzz_indexes(options, tmp_path, capsys, FAST // 2).values()) == FAST // 2


@pytest.mark.slow
def test_headers(options, tmp_path, capsys, counts):
    counts("damaged NIfTI header", FULL["header"], fuzz_headers(options, tmp_path, capsys, FULL["header"]))


@pytest.mark.slow
def test_reading_of_headers(options, tmp_path, counts):
    outcomes = fuzz_reading(tmp_path, FULL["header read"])
    assert set(outcomes) <= KNOWN
    counts("damaged NIfTI header, read only", FULL["header read"], outcomes)


@pytest.mark.slow
def test_data(options, tmp_path, capsys, counts):
    counts("damaged NIfTI data", FULL["data"], fuzz_data(options, tmp_path, capsys, FULL["data"]))


@pytest.mark.slow
def test_sidecars(bids, counts):
    outcomes = fuzz_sidecars(bids, FULL["sidecar"])
    assert set(outcomes) <= KNOWN
    counts("damaged JSON sidecar", FULL["sidecar"], outcomes)


@pytest.mark.slow
def test_indexes(options, tmp_path, capsys, counts):
    counts("damaged session index", FULL["index"], fuzz_indexes(options, tmp_path, capsys, FULL["index"]))
