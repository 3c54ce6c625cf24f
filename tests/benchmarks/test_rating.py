"""Visual rating: what the page holds and does not hold, and what comes out when ratings are collected."""

import base64
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from benchmarks.rating.__main__ import main
from benchmarks.rating.collect import agreement
from benchmarks.rating.pages import CATEGORIES, blinded
from benchmarks.rating.views import places_from_labels
from qsm_recon.io import save_image

SHAPE = (20, 24, 16)
AFFINE = np.diag([-1.0, 1.0, 2.0, 1.0])  # stored from right to left


@pytest.fixture
def head(tmp_path, monkeypatch):
    """Truth with a vein, a calcification and deep grey matter, and three maps that are worse and worse."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    mask = np.zeros(SHAPE, bool)
    mask[2:18, 2:22, 2:14] = True
    labels = np.where(mask, 8, 0)
    labels[10, 3:20, 12] = 11
    labels[13:15, 15:17, 9:11] = 16
    labels[5:8, 8:12, 6:9] = 2
    truth = np.select([labels == 11, labels == 16, labels == 2, labels == 8], (0.3, -0.9, 0.15, -0.02), 0.0)
    noise = rng.standard_normal(SHAPE)
    maps = {"best": 0.01, "middling": 0.03, "worst": 0.1}
    for name, deviation in maps.items():
        save_image(f"{name}.nii.gz", (truth + deviation * noise + 0.07).astype(np.float32), AFFINE)
    for name, image in {"truth": truth, "mask": mask, "labels": labels.astype(np.int16)}.items():
        save_image(f"{name}.nii.gz", image, AFFINE)
    return SimpleNamespace(mask=mask, labels=labels, truth=truth, noise=noise, maps=maps)


FILES = ["best.nii.gz", "middling.nii.gz", "worst.nii.gz"]
MATERIAL = ["--mask", "mask.nii.gz", "--truth", "truth.nii.gz", "--labels", "labels.nii.gz"]


def make_page(folder="rating", seed="7", *more):
    assert main([*FILES, *MATERIAL, "--out", folder, "--seed", seed, "--quiet", *more]) == 0
    page = Path(folder, "rating.html").read_text("utf-8")
    return page, content_of(page), read(f"{folder}/key.json")


def read(path):
    return json.loads(Path(path).read_text("utf-8"))


def content_of(page):
    return json.loads(page.split('id="content">', 1)[1].split("</script>", 1)[0])


def grey(picture):
    import matplotlib.image

    return np.rint(255 * matplotlib.image.imread(io.BytesIO(base64.b64decode(picture)))).astype(int)


def saved(key, rater, scores, name=None):
    """A file of ratings: for each category the score of each map, by its file."""
    blind = {item["file"]: name for name, item in key["submissions"].items()}
    ratings = {category: {blind[f"{m}.nii.gz"]: s for m, s in values.items()} for category, values in scores.items()}
    path = name or f"{rater}.json"
    content = {"format": 1, "page": key["page"], "rater": rater, "complete": True, "ratings": ratings}
    Path(path).write_text(json.dumps(content), "utf-8")
    return path


def alike(best, middling, worst):
    return {category: {"best": best, "middling": middling, "worst": worst} for category in CATEGORIES}


def test_the_page_does_not_tell_which_map_is_which(head):
    page, content, key = make_page()
    text = re.sub("[A-Za-z0-9+/]{100,}", "", page)  # pictures in base64 may spell any word
    for word in ("best", "middling", "worst", "truth.nii", ".nii", "metrics", "http"):
        assert word not in text
    assert str(key["submissions"]["map 01"]["sha256"]) not in page
    assert sorted(item["file"] for item in key["submissions"].values()) == sorted(FILES)
    assert content["orders"] == key["orders"]
    for order in content["orders"].values():
        assert sorted(order) == sorted(key["submissions"])


def test_the_seed_decides_names_and_orders_and_nothing_else_does(head):
    assert blinded(12, 3) == blinded(12, 3)
    names, orders = blinded(12, 3)
    assert names != blinded(12, 4)[0]
    assert names != sorted(names)
    assert len({tuple(order) for order in orders.values()}) == 3  # another order in every category
    first, second = make_page("a")[0], make_page("b")[0]
    assert first == second
    assert make_page("c", "8")[1]["page"] != content_of(first)["page"]


def test_views_are_the_map_less_its_mean_through_the_labelled_places(head):
    _, content, key = make_page()
    assert list(key["places"]) == ["vein", "calcification", "deep grey"]
    assert key["places"]["vein"][0] == 10
    assert key["places"]["vein"][2] == 12
    i, j, k = key["places"]["calcification"]
    assert head.labels[i, j, k] == 16
    best = next(name for name, item in key["submissions"].items() if item["file"] == "best.nii.gz")
    image = (head.truth + 0.01 * head.noise + 0.07).astype(np.float32)
    shown = np.where(head.mask, image - image[head.mask].mean(dtype=float), 0)[::-1]  # right on the right
    views = content["images"][best][3:6]  # the calcification's
    expected = (shown[:, :, k].T, shown[:, j].T, shown[SHAPE[0] - 1 - i].T)
    for view, plane in zip(views, expected, strict=True):
        found, whole = grey(view), np.clip(np.rint(127.5 * (1 + plane[::-1] / 0.1)), 0, 255)
        edge = [(n - m) // 2 for n, m in zip(whole.shape, found.shape, strict=True)]  # the mask lies in the middle
        inner = whole[edge[0] : edge[0] + found.shape[0], edge[1] : edge[1] + found.shape[1]]
        assert np.abs(found - inner).max() <= 1
    facts = content["views"][1]
    assert [view["slice"] for view in facts] == [f"k = {k}", f"j = {j}", f"i = {i}"]
    assert [view["ends"] for view in facts] == [list("LRPA"), list("LRIS"), list("PAIS")]
    assert facts[0]["width"] == grey(views[0]).shape[1]
    assert facts[1]["height"] == 2 * grey(views[1]).shape[0]  # mm


def test_places_by_hand_from_the_truth_and_without_anything(head, capsys):
    assert make_page("hand", "7", "--at", "here=4,5,6")[2]["places"] == {"here": [4, 5, 6]}
    assert main([*FILES, "--truth", "truth.nii.gz", "--out", "t", "--quiet"]) == 0
    places = read("t/key.json")["places"]
    assert head.labels[tuple(places["most diamagnetic"])] == 16
    assert head.truth[tuple(places["most paramagnetic"])] > 0.1
    capsys.readouterr()
    assert main([*FILES, "--out", "m", "--quiet"]) == 0
    assert "middle of the mask" in capsys.readouterr().out
    assert read("m/key.json")["places"] == {"middle": [10, 12, 8]}


def test_a_structure_that_is_not_labelled_is_left_out_and_named():
    labels = np.zeros(SHAPE)
    labels[3, 4:9, 5] = 11
    places, absent = places_from_labels(labels, np.ones(SHAPE, bool))
    assert [place.name for place in places] == ["vein"]
    assert absent == ["calcification", "deep grey"]


def test_collecting_unblinds_and_agrees_with_the_metrics(head, capsys):
    key = make_page()[2]
    files = [saved(key, "A", alike(0, 1, 3)), saved(key, "B", {**alike(0, 1, 2), "noise": {"best": 1, "worst": 3}})]
    assert main(["--collect", *files, "--out", "rating"]) == 0
    found = read("rating/summary.json")
    assert found["raters"] == ["A", "B"]
    assert [entry["file"] for entry in found["maps"]] == FILES
    best, middling, worst = found["maps"]
    assert (best["streaking"]["mean"], worst["streaking"]["mean"]) == (0, 2.5)
    assert worst["streaking"]["standard_deviation"] == pytest.approx(np.sqrt(0.5))
    assert (best["noise"]["mean"], middling["noise"]["mean"], middling["noise"]["ratings"]) == (0.5, 1, 1)
    assert best["overall"] == pytest.approx(0.5 / 3)
    assert worst["metrics"]["nrmse"] > middling["metrics"]["nrmse"] > best["metrics"]["nrmse"]
    # Alike in order, so that error and rating grow together; where more is better the sign is turned.
    assert found["correlation"]["streaking"]["nrmse"] == pytest.approx(1)
    assert found["correlation"]["streaking"]["xsim"] == pytest.approx(1)
    printed = capsys.readouterr().out
    assert "2.50 ± 0.71" in printed
    assert "note: B left 1 ratings out" in printed
    assert "note: A" not in printed
    assert "Krippendorff" in printed


def test_agreement_is_krippendorffs_ordinal_alpha():
    """The example of Krippendorff (2011), 'Computing Krippendorff's alpha-reliability': ordinal 0.815."""
    text = "123321412--- 1233224125-3 -333234225 1- 12332441251-".replace(" 1-", "1-")
    rows = [[np.nan if c == "-" else float(c) for c in row] for row in text.split()]
    assert agreement(np.array(rows)) == pytest.approx(0.815, abs=5e-4)
    assert agreement(np.array([[0, 1, 3.0], [0, 1, 3]])) == pytest.approx(1)
    assert agreement(np.array([[0, 1, 3.0]])) is None
    assert agreement(np.array([[1.0, 1, 3], [1, 1, np.nan]])) is None
    # Ordinal, not interval: what matters is how many ratings lie between.
    near, far = np.array([[0, 1, 2, 3, 0.0], [0, 1, 2, 3, 1]]), np.array([[0, 1, 2, 3, 0.0], [0, 1, 2, 3, 3]])
    assert agreement(near) > agreement(far)


def test_pages_of_the_same_maps_with_other_seeds_are_collected_together(head):
    first, second = make_page("a", "1")[2], make_page("b", "2")[2]
    files = [saved(first, "A", alike(0, 1, 2)), saved(second, "B", alike(0, 1, 2))]
    assert main(["--collect", *files, "--key", "a/key.json", "b/key.json", "--out", "both", "--quiet"]) == 0
    found = read("both/summary.json")
    assert found["agreement"]["noise"] == pytest.approx(1)
    assert [entry["overall"] for entry in found["maps"]] == [0, 1, 2]


def test_a_page_whose_ratings_may_be_under_way_is_not_written_over(head, capsys):
    make_page()
    before = Path("rating/key.json").read_bytes()
    assert main([*FILES, "--out", "rating", "--quiet"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert Path("rating/key.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["best.nii.gz"], "give two or more"),
        (["best.nii.gz", "best.nii.gz"], "given twice"),
        (["best.nii.gz", "absent.nii.gz"], "absent.nii.gz: no such file"),
        (["best.nii.gz", "cropped.nii.gz"], "cropped.nii.gz: shape"),
        (["best.nii.gz", "zero.nii.gz"], "zero.nii.gz: nothing to rate"),
        ([*FILES, "--window", "0"], "--window 0"),
        ([*FILES, "--at", "here=1,2"], "expected NAME=I,J,K"),
        ([*FILES, "--at", "here=1,2,99"], "outside the maps"),
        ([*FILES, *MATERIAL, "--at", "here=0,12,8"], "does not meet the mask"),
        ([*FILES, "--at", "a=9,9,9", "--at", "a=8,8,8"], "a name is given twice"),
        ([*FILES, "--seed", "-1"], "--seed -1"),
        ([*FILES, "--labels", "mask.nii.gz"], None),
        ([*FILES, "--key", "key.json"], "without --collect"),
        (["--collect", "a.json", "--mask", "mask.nii.gz"], "no meaning with --collect"),
        (["--collect", "a.json"], "key.json: no such file"),
    ],
)
def test_bad_usage_is_one_line_and_nothing_is_written(arguments, message, head, tmp_path, capsys):
    save_image("cropped.nii.gz", head.truth[1:], AFFINE)
    save_image("zero.nii.gz", np.zeros(SHAPE, np.float32), AFFINE)
    if message is None:  # labels 0 and 1: deep grey matter alone
        assert main([*arguments, "--out", "out", "--quiet"]) == 0
        assert "no vein among the labels" in capsys.readouterr().out
        return
    assert main([*arguments, "--out", "out", "--quiet"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"page": "another"}, "ratings of page another"),
        ({"page": [1]}, "ratings of page [1]"),
        ({"ratings": {"beauty": {}}}, "'beauty' is no category"),
        ({"ratings": {"noise": {"map 01": 4}}}, "is 4; expected 0 to 3"),
        ({"ratings": {"noise": {"map 01": True}}}, "is True"),
        ({"ratings": {"noise": {"map 99": 1}}}, "'map 99' is no map"),
        ({"ratings": []}, "not a file of ratings"),
        ({"rater": "A"}, "a second file of rater 'A'"),
        ({"rater": " A\n"}, "a second file of rater 'A'"),
        ({"rater": "  "}, "not a file of ratings"),
    ],
)
def test_ratings_that_cannot_be_are_refused(change, message, head, capsys):
    key = make_page()[2]
    files = [saved(key, "A", alike(0, 1, 2)), saved(key, "B", alike(0, 1, 2))]
    Path("B.json").write_text(json.dumps(read("B.json") | change), "utf-8")
    assert main(["--collect", *files, "--out", "rating", "--quiet"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda key, item: key.pop("page"), "does not say of which page"),
        (lambda key, item: item.update(file=3), "'map 01' lacks file or sha256"),
        (lambda key, item: item.pop("sha256"), "'map 01' lacks file or sha256"),
        (lambda key, item: item.update(metrics=[3]), "the metrics of 'map 01' are no numbers by name"),
        (lambda key, item: item.update(metrics={"nrmse": "low"}), "the metrics of 'map 01' are no numbers by name"),
        (lambda key, item: item.update(file=key["submissions"]["map 02"]["file"]), "names one file for two maps"),
    ],
)
def test_a_key_that_was_edited_is_refused(change, message, head, tmp_path, capsys):
    key = make_page()[2]
    path = saved(key, "A", alike(0, 1, 2))
    change(key, key["submissions"]["map 01"])
    Path("edited.json").write_text(json.dumps(key), "utf-8")
    assert main(["--collect", path, "--key", "edited.json", "--out", "summary", "--quiet"]) == 2
    found = capsys.readouterr().err
    assert found.startswith("error: edited.json: ")
    assert message in found
    assert not (tmp_path / "summary").exists()


def test_the_command_for_collecting_can_be_pasted(head, capsys):
    assert main([*FILES, "--out", "a <b>", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" --key 'a <b>/key.json'")


def test_a_key_of_other_maps_is_refused(head, capsys):
    first = make_page("a")[2]
    assert main([*FILES[:2], "--out", "b", "--quiet"]) == 0
    path = saved(first, "A", alike(0, 1, 2))
    assert main(["--collect", path, "--key", "a/key.json", "b/key.json", "--quiet"]) == 2
    assert "of other maps than a/key.json" in capsys.readouterr().err


def test_the_page_shows_the_same_grey_for_the_same_ppm_in_every_map(head):
    """One window: the difference of two maps is that of their grey levels."""
    _, content, key = make_page("rating", "7", "--window", "0.5")
    by_file = {item["file"]: content["images"][name] for name, item in key["submissions"].items()}
    levels = [grey(by_file[name][0]) for name in ("best.nii.gz", "middling.nii.gz")]
    k = key["places"]["vein"][2]
    noise = np.where(head.mask, 0.02 * (head.noise - head.noise[head.mask].mean()), 0)[::-1, ::-1, k].T
    noise = noise[0 : SHAPE[1], 0 : SHAPE[0]]
    assert_array_equal(np.abs(levels[1] - levels[0] - 127.5 * noise / 0.5) <= 1.01, True)


def test_names_of_maps_stay_out_of_the_page(head):
    """What a name holds cannot become part of the page; the key tells which map it is."""
    plain, _, _ = make_page("plain")
    odd = "<img src=x onerror=alert(1)><!--\"'{{content}}"
    Path("best.nii.gz").rename(f"{odd}.nii.gz")
    assert main([f"{odd}.nii.gz", *FILES[1:], *MATERIAL, "--out", "odd", "--seed", "7", "--quiet"]) == 0
    assert Path("odd", "rating.html").read_text("utf-8") == plain
    assert json.dumps(odd)[1:-1] in Path("odd", "key.json").read_text("utf-8")
