"""Text in names and headers stays text, and what a header says of the patient goes nowhere."""

from __future__ import annotations

import gzip
import importlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import nibabel
import numpy as np

lcurve = importlib.import_module("qsm_recon.lcurve")
evaluate = importlib.import_module("qsm_recon.evaluate")

PARTS = (
    "<img src=x onerror=alert(1)>",
    "\"' onmouseover='alert(1)",
    "x<{sep}script><script>alert(1)<{sep}script>",  # over folders
    "{{{{IMAGES}}}} $title ${{rows}} {{x}} %s /*CONTENT*{sep}",
    "$\\frac{{1}}{{0}}$ _{{^",
    "Übung 脳 \u202egnp.",
)
NAMES = {"hostile": "".join(PARTS), "formula": "$\\frac{{1}}{{0}}$"}
SECRET = "Mustermann"


class Outline(HTMLParser):
    """Elements of a page with the names of their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, *(name for name, _ in attributes)))


def placed(files, name: str, source: str) -> str:
    """A copy of a file whose name holds an odd text."""
    path = Path(name.format(sep=os.sep) + ".nii.gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(Path(source).read_bytes())
    return str(path)


def outline(page: Path) -> list[tuple[str, ...]]:
    return Outline(page.read_text("utf-8")).elements


def test_the_page_of_a_run_has_the_same_elements_whatever_files_are_called(files, run):
    settings = ["--field-unit", "ppm", "--mask", "mask.nii.gz", "--html", "--quiet"]
    found = []
    for folder, name in [("plain", "field"), *((kind, name) for kind, name in NAMES.items())]:
        done = run("--algo", "tkd", "--field", placed(files, name, "field.nii.gz"), *settings, "--out", folder)
        assert done.code == 0, done.err
        assert done.err == ""
        found.append(outline(files.folder / folder / "report.html"))
    assert all(elements == found[0] for elements in found)


def test_the_page_of_a_session_too(files, capsys):
    found = []
    for folder, name in [("plain", "field"), *((kind, name) for kind, name in NAMES.items())]:
        path = placed(files, name, "field.nii.gz")
        options = ["--field", path, "--field-unit", "ppm", "--mask", "mask.nii.gz", "--points", "3", "--refine", "0"]
        assert lcurve.main(["--algo", "tkd", *options, "--quiet", "--out", folder]) in (0, 3)
        found.append(outline(files.folder / folder / "session.html"))
    assert all(elements == found[0] for elements in found)


def test_error_maps_are_drawn_whatever_maps_are_called(files, capsys):
    for name in NAMES.values():
        path = placed(files, name, "truth.nii.gz")
        assert evaluate.main([path, "--truth", "truth.nii.gz", "--mask", "mask.nii.gz", "--out", "scores"]) == 0
    assert len(list(Path("scores").glob("*.png"))) == len(NAMES)


def with_patient(path: Path) -> None:
    """Write the patient's name into every place of a NIfTI file that takes text, and into a sidecar."""
    stored = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asanyarray(stored.dataobj), stored.affine, stored.header)
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[field] = SECRET.encode()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", f"PatientName={SECRET}".encode()))
    nibabel.save(image, path)
    sidecar = {"EchoTime": 0.004, "MagneticFieldStrength": 7, "PatientName": SECRET, "InstitutionName": SECRET}
    path.with_name(path.name.split(".")[0] + ".json").write_text(json.dumps(sidecar))


def everything_in(folder: Path) -> str:
    """All text in the files of a folder, unpacked."""
    texts = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            texts += [path.name, (gzip.decompress(content) if path.suffix == ".gz" else content).decode("latin-1")]
    return "\n".join(texts)


def test_the_patients_name_goes_nowhere(files, run, inputs, capsys):
    for path in files.folder.glob("*.nii.gz"):
        with_patient(path)
    assert SECRET in everything_in(files.folder)
    done = run(
        "--algo", "tkd", *inputs.echoes, "--background", "vsharp", "--keep-stages", "--html", "--truth", "truth.nii.gz",
        "--labels", "labels.nii.gz", "--out", "result",
    )  # fmt: skip
    assert done.code == 0, done.err
    field = [
        "--field",
        "field.nii.gz",
        "--field-unit",
        "ppm",
        "--mask",
        "mask.nii.gz",
        "--magnitude",
        "magnitude.nii.gz",
    ]
    sweep = ["--points", "3", "--refine", "0", "--keep-maps", "--out", "session"]
    assert lcurve.main(["--algo", "tikhonov", *field, *sweep]) in (0, 3)
    case = ["--truth", "truth.nii.gz", "--mask", "mask.nii.gz", "--labels", "labels.nii.gz", "--out", "scores"]
    assert evaluate.main(["result/chi.nii.gz", "truth.nii.gz", *case]) == 0
    printed = capsys.readouterr()
    for text in (done.out, done.err, printed.out, printed.err):
        assert SECRET not in text
    for folder in ("result", "session", "scores"):
        found = everything_in(files.folder / folder)
        assert len(found) > 1000
        assert SECRET not in found
        assert not re.search("PatientName|InstitutionName", found)
