"""The page of a run (``--html``): its facts, its images, and that it needs nothing else; no browser here."""

import base64
import json
import re
import zlib
from dataclasses import asdict, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qsm_recon.datasets.case import Case
from qsm_recon.datasets.truth import Truth
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.report import page_images
from qsm_recon.report.document import run_document
from qsm_recon.report.run_page import run_page
from qsm_recon.result import referenced
from qsm_recon.select.pick import Pick
from qsm_recon.solvers.registry import make_solver

HOSTILE = '<img src=x onerror=alert(1)> & "it\'s" {{SCRIPT}}'


class Parsed(HTMLParser):
    """Elements with their attributes and the text inside each, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements, self._open = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs), []))
        if tag not in ("meta", "link", "img", "input", "br"):
            self._open.append(self.elements[-1])

    def handle_endtag(self, tag):
        assert self._open[-1][0] == tag, f"{tag} ends inside {self._open[-1][0]}"
        self._open.pop()

    def handle_data(self, data):
        for _, _, texts in self._open:
            texts.append(data)

    def text(self, identifier):
        return next("".join(texts) for _, attributes, texts in self.elements if attributes.get("id") == identifier)

    def ids(self):
        return [attributes["id"] for _, attributes, _ in self.elements if "id" in attributes]


@pytest.fixture
def case(scan):
    truth = Truth(scan.chi, scan.labels)
    problem = Problem(scan.field, scan.mask, scan.grid, magnitude=scan.magnitude[..., 0], field_kind="local")
    return Case(problem, scan.affine, "ball", truth, {"field": "field.nii.gz"})


def made(case, algorithm="tkd", reference="mean over the mask", details=None, **parameters):
    """Page of a run on a case, as the command makes it, and the map."""
    solver = make_solver(algorithm, **parameters)
    result = solver.solve(case.problem).with_details(**details or {})
    chi = referenced(result.susceptibility_ppm, result.mask, case.problem.mask)
    document = run_document(
        case, solver.resolved(case.problem), result, chi, command=["--algo", algorithm], reference=reference,
        metrics={}, timings_s=result.timings_s, memory_estimate_gib=0.1, page="report.html",
    )  # fmt: skip
    return Parsed(run_page(document, case, chi, result.mask, b"")), chi


def page(folder="out"):
    return Parsed((Path(folder) / "report.html").read_text("utf-8"))


def unpacked(parsed, key):
    """An image of the page as an array of the shape that it has there, NaN outside the mask."""
    content = json.loads(parsed.text("content"))
    halves = np.frombuffer(zlib.decompress(base64.b64decode(parsed.text(f"image-{key}"))), np.uint8).astype(np.uint16)
    low, high = np.split(halves, 2)
    numbers = (low | (high << 8)).astype(np.uint16).view(np.int16).reshape(content["shape"])
    step = next(image["step"] for image in content["images"] if image["key"] == key)
    return np.where(numbers == page_images.NO_VALUE, np.nan, numbers * step), step, content


def placed(parsed, key):
    """An image of the page put back into the files' voxels; NaN where it does not reach."""
    values, step, content = unpacked(parsed, key)
    whole = np.full(content["full"], np.nan)
    turned = np.transpose(whole, content["order"])
    turned = turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in content["flips"])]
    starts, stride = content["start"], content["stride"]
    turned[tuple(slice(a, a + stride * n, stride) for a, n in zip(starts, values.shape, strict=True))] = values
    return whole, step


def test_the_page_says_what_was_done(scan, files, inputs, run):
    arguments = (*inputs.echoes, "--background", "vsharp", "--background-set", "smallest_radius=2", "largest_radius=4")
    done = run(*arguments, "--algo", "tv", "--html", "--truth", "truth.nii.gz", "--labels", "labels.nii.gz")
    assert done.code == 0, done.err
    record = json.loads(Path("out/report.json").read_text())
    assert record["page"] == "report.html"
    parsed = page()
    account = parsed.text("account")
    assert "7 T, 4 echoes at 4, 12, 20, 28 ms" in account
    assert "21 × 24 × 18 voxels of 1.5 × 1 × 2 mm" in account
    assert "(0.000, 0.342, 0.940) in voxel axes, 20.0° off" in account
    assert f"{scan.mask.sum()} voxels ({scan.mask.sum() * 0.003:.4g} ml)." in account
    assert "from 4 echoes by a nonlinear fit" in account
    assert record["background"]["title"] in account
    assert record["background"]["citation"] in account
    assert f"{record['background']['mask_voxels']} of {scan.mask.sum()} voxels" in account
    assert record["algorithm"]["citation"] in account
    weight = record["algorithm"]["parameters"]["regularisation_weight"]["value"]
    assert f"Regularisation weight {weight:.4g} ppm·mm: follows the data by the default rule" in account
    assert f"Converged after {record['result']['iterations']} iterations" in account
    assert "Zero is the mean over the mask." in account
    assert f"standard deviation {record['result']['statistics_in_mask']['standard_deviation']:.4f} ppm" in account
    for note in record["input"]["notes"]:
        assert note in parsed.text("notes")
    assert "warnings" not in parsed.ids()

    assert parsed.text("command") == record["run"]["command_line"]
    metrics = parsed.text("metrics")
    assert f"NRMSE{record['metrics']['nrmse']:.4g} %lower is better" in metrics
    assert f"mutual information{record['metrics']['mi']:.4g} natshigher is better" in metrics
    assert f"not computed: {record['metrics']['not_computed']['calcification_moment_deviation']}" in metrics
    table = parsed.text("record")
    assert "vsharplargest_radius4 mmcommand line" in table
    assert "tvrelaxation1.9default" in table
    assert f"inversion{record['timings_s']['solve']:.2f} s" in table
    assert record["result"]["voxels_sha256"] in table
    assert record["input"]["files"]["mask"]["sha256"] in table
    assert f"numpy{record['software']['numpy']}" in table
    pictures = {a["alt"]: a["src"] for tag, a, _ in parsed.elements if tag == "img"}
    assert list(pictures) == [
        "The run's figure",
        "Histograms of field and susceptibility",
        "Histograms by region, susceptibility in ppm",
    ]
    kind, _, content = pictures["The run's figure"].partition(",")
    assert (kind, base64.b64decode(content)) == ("data:image/png;base64", Path("out/figure.png").read_bytes())
    assert b"<svg" in base64.b64decode(pictures["Histograms of field and susceptibility"].partition(",")[2])
    assert set(parsed.ids()) >= {f"image-{key}" for key in ("chi", "field", "total", "magnitude", "error")}
    chi = np.asarray(nibabel.load("out/chi.nii.gz").dataobj)
    found, step = placed(parsed, "chi")
    covered = ~np.isnan(found)
    assert covered.sum() == record["geometry"]["result_mask_voxels"]
    assert_allclose(found[covered], chi[covered], atol=0.5001 * step)


def test_regions_are_those_of_the_labels(scan, case):
    parsed, chi = made(case)
    for label, name in ((2, "globus pallidus"), (11, "venous blood")):
        region = scan.labels == label
        found, truth = chi[region].astype(float), scan.chi[region].astype(float)
        numbers = (found.mean(), found.std(), truth.mean(), truth.std(), found.mean() - truth.mean())
        row = "".join((name, str(region.sum()), *(f"{number:.4f}" for number in numbers)))
        assert row in parsed.text("regions")
    assert "Regions" not in made(replace(case, truth=Truth(scan.chi)))[0].text("regions")


def test_the_weight_is_said_to_be_whose_it_is(case):
    def account(**how):
        return made(replace(case, truth=None), **how)[0].text("account")

    assert "Regularisation weight 1e-06: the method's default." in account(algorithm="ndi")
    assert "Threshold 0.3: set on the command line." in account(threshold=0.3)
    pick = Pick("lcurve", 0.3, 1.0, "the corner")
    assert "chosen by the rule 'lcurve' (the corner)" in account(threshold=0.3, details={"selection": asdict(pick)})
    assert "follows the data by the default rule" in account(algorithm="tikhonov")


def test_a_closed_form_has_nothing_to_iterate(case):
    parsed = made(case, reference="none")[0]
    account = parsed.text("account")
    assert ["".join(t) for _, a, t in parsed.elements if a.get("class") == "state converged"] == ["closed form"]
    assert "Closed form: nothing to iterate." in account
    assert "None: the map is as the method returned it" in account


def test_what_did_not_converge_is_marked(case):
    parsed, _ = made(replace(case, truth=None), "tv", max_iterations=3)
    assert "Not converged: the iteration limit was reached after 3 iterations." in parsed.text("warnings")
    states = ["".join(t) for _, a, t in parsed.elements if "state" in a.get("class", "").split()]
    assert states == ["not converged"]


def test_warnings_come_before_notes(case):
    insisted = "field: accepted as local (--accept-background), though it holds background"
    noted = replace(case, truth=None, notes=("a remark", "warning: the phase is odd", insisted))
    parsed, _ = made(noted, details={"warnings": ["the map looks inverted"], "impossible_range": "it is too large"})
    words = parsed.text("warnings")
    for text in ("It is too large", "The map looks inverted", "The phase is odd", "Field: accepted as local"):
        assert words.count(text) == 1
    assert parsed.text("notes") == "Notesa remark"
    assert parsed.ids().index("warnings") < parsed.ids().index("viewer") < parsed.ids().index("notes")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("flip", [(), (0,), (1, 2)])
def test_the_images_are_the_maps_whatever_the_storage_order(scan, order, flip):
    """Left-handed, permuted, oblique."""

    def stored(image):
        return np.ascontiguousarray(np.flip(image.transpose(order), flip))

    affine = scan.affine[:, [*order, 3]].copy()
    for axis in flip:
        affine[:, 3] += affine[:, axis] * (scan.mask.shape[order[axis]] - 1)
        affine[:, axis] *= -1
    mask, magnitude = stored(scan.mask), stored(scan.magnitude[..., 0])
    grid = Grid.from_affine(mask.shape, affine)
    case = Case(Problem(stored(scan.field), mask, grid, magnitude=magnitude), affine, "turned")
    parsed, chi = made(case)
    for key, expected in (("chi", chi), ("field", stored(scan.field))):
        found, step = placed(parsed, key)
        assert step == pytest.approx(1e-4)
        assert_array_equal(np.isnan(found), ~mask)
        assert_allclose(found[mask], expected[mask], atol=0.5001 * step)
    found, step = placed(parsed, "magnitude")
    assert step < 0.0025 * magnitude.max()
    assert_allclose(found[mask], magnitude[mask], atol=0.5001 * step)
    content = json.loads(parsed.text("content"))
    assert_allclose(content["affine"], affine)
    # along the axes of the page the image runs to the right, to anterior and to superior
    signs = [-1 if flipped else 1 for flipped in content["flips"]]
    turned = [affine[:3, axis] * sign for axis, sign in zip(content["order"], signs, strict=True)]
    assert np.argmax(turned, axis=1).tolist() == [0, 1, 2]
    assert "up to 20° off" in hints(parsed)


def hints(parsed):
    return "".join("".join(texts) for _, attributes, texts in parsed.elements if attributes.get("class") == "hint")


def test_an_unknown_orientation_is_said(case):
    assert "does not say where the scanner's axes are" in hints(made(replace(case, scanner_affine=None))[0])
    assert "does not say" not in hints(made(case)[0])


def test_a_wide_range_has_wider_steps(scan, case):
    strong = np.where(scan.labels == 2, 6, 1).astype(np.float32) * scan.field * 40
    parsed, chi = made(replace(case, truth=None, problem=replace(case.problem, field_ppm=strong)))
    assert np.abs(chi).max() > 4
    found, step = placed(parsed, "chi")
    assert step == pytest.approx(np.abs(chi).max() / 32767)
    assert_allclose(found[scan.mask], chi[scan.mask], atol=0.5001 * step)


def test_a_large_image_is_thinned_and_says_so(scan, case, monkeypatch):
    monkeypatch.setattr(page_images, "MOST_VOXELS", 2000)
    parsed, chi = made(replace(case, truth=None))
    assert json.loads(parsed.text("content"))["stride"] == 2
    assert "every second along each axis is shown" in hints(parsed)
    found, step = placed(parsed, "chi")
    shown = ~np.isnan(found)
    assert 0.1 < shown.sum() / scan.mask.sum() < 0.15
    assert_allclose(found[shown], chi[shown], atol=0.5001 * step)


def test_text_from_outside_stays_text_and_nothing_is_asked_for(scan, files, run):
    name = files.write(HOSTILE, scan.field)
    assert run("--field", name, "--field-unit", "ppm", "--mask", "mask.nii.gz", "--algo", "tkd", "--html").code == 0
    content, parsed = Path("out/report.html").read_text("utf-8"), page()
    assert "<img src=x" not in content
    assert sum(tag == "img" for tag, _, _ in parsed.elements) == 2
    assert sum(tag == "script" for tag, _, _ in parsed.elements) == 4  # the facts, two images, the viewer
    titles = ["".join(texts) for tag, _, texts in parsed.elements if tag == "title"]
    assert titles == [f"{HOSTILE}: susceptibility map"]
    assert f"Taken from {name}." in parsed.text("account")
    assert content.count('"use strict";') == 1
    assert "default-src 'none'" in content
    assert not re.search(r"https?:|url\(|@import", unescape(content))
    for tag, attributes, _ in parsed.elements:
        for attribute in ("src", "href", "action", "data", "srcset"):
            assert attributes.get(attribute, "data:").startswith(("data:", "#")), (tag, attributes)


def test_a_page_of_an_earlier_run_goes_with_its_maps_and_no_other_does(files, inputs, run):
    run(*inputs.field, "--algo", "tkd", "--html")
    before = Path("out/report.html").read_text("utf-8")
    assert run("--field", "field.nii.gz", "--field-unit", "ppm", "--mask", "missing.nii.gz").code == 2
    assert Path("out/report.html").read_text("utf-8") == before  # nothing is lost where nothing is written
    run(*inputs.field, "--algo", "tkd", "--set", "threshold=0.3")
    assert not Path("out/report.html").exists()
    assert json.loads(Path("out/report.json").read_text())["page"] is None
    Path("out/report.html").write_text("<!doctype html><title>of another program</title>")
    run(*inputs.field, "--algo", "tkd")
    assert "another program" in Path("out/report.html").read_text()


def test_a_folder_in_the_way_is_found_before_the_work(files, inputs, run):
    Path("out/report.html").mkdir(parents=True)
    done = run(*inputs.field, "--algo", "tkd", "--html")
    assert (done.code, "is a folder in the way" in done.err) == (2, True)
    assert list(Path("out").iterdir()) == [Path("out/report.html")]


def test_nothing_is_written_where_the_page_does_not_fit(files, inputs, run):
    """All files of a run appear together: here the disk takes all but the page, which is the largest."""
    resource = pytest.importorskip("resource")
    run(*inputs.field, "--algo", "tkd", "--html", "--out", "first")
    *_, second, largest = sorted(path.stat().st_size for path in Path("first").iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert largest == Path("first/report.html").stat().st_size > 1.1 * second
    resource.setrlimit(resource.RLIMIT_FSIZE, ((second + largest) // 2, hard))
    try:
        done = run(*inputs.field, "--algo", "tkd", "--html", "--out", "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (done.code, "full/report.html: cannot be written (File too large)" in done.err) == (2, True)
    assert not Path("full").exists()


def test_the_package_holds_what_the_page_is_made_of():
    from configparser import ConfigParser

    root = Path(__file__).resolve().parents[2]
    settings = ConfigParser()
    settings.read(root / "setup.cfg")
    patterns = settings["options.package_data"]["qsm_recon"].split(",")
    packed = {path.name for pattern in patterns for path in (root / "qsm_recon").glob(pattern.strip())}
    assert packed >= {"run.html", "run.css", "viewer.js"}
