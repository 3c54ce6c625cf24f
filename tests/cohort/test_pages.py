"""The group table and the overview page, from records."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from qsm_recon.cohort.derivatives import THUMBNAIL
from qsm_recon.cohort.overview import LEAST_TO_JUDGE, unlike_others, write_overview
from qsm_recon.cohort.record import DONE, FAILED, Record
from qsm_recon.cohort.table import COLUMNS, write_table
from qsm_recon.report.thumbnail import GREY, HEIGHT_PIXELS, thumbnail

NASTY = '<script>alert("x")</script>\t&\nnext'


def record(number, sd=0.03, **members):
    name = f"sub-{number:02d}"
    facts = {"algorithm": "tkd", "chi_sd": sd, "chi_p01": -0.05, "chi_p99": 0.06, "volume": 980.0 + number,
             "iterations": 12, "seconds": 3.0, "memory": 0.4, "converged": True, "residual": None}  # fmt: skip
    return Record(name, {"sub": f"{number:02d}"}, DONE, {}, **{"facts": facts, **members})


class Outline(HTMLParser):
    """What a page loads, and the texts of its table's cells."""

    def __init__(self, text):
        super().__init__()
        self.loaded, self.links, self.rows, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        found = dict(attributes)
        self.loaded += [found[name] for name in ("src", "srcset", "data") if name in found]
        if tag == "a":
            self.links.append(found["href"])
        elif tag == "link":
            self.loaded.append(found["href"])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, text):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += text


def test_table(tmp_path):
    failed = Record("sub-09_ses-a", {"sub": "09", "ses": "a"}, FAILED, {}, reason=NASTY)
    write_table(tmp_path, [record(1, warnings=("one", "two\tparts")), failed])
    with (tmp_path / "group_Chimap.tsv").open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert list(rows[0]) == list(json.loads((tmp_path / "group_Chimap.json").read_text())) == list(COLUMNS)
    assert [row["participant_id"] for row in rows] == ["sub-01", "sub-09"]
    assert rows[0]["session_id"] == rows[0]["residual"] == "n/a"
    assert (rows[0]["chi_sd"], rows[0]["converged"], rows[0]["warnings"]) == ("0.03", "true", "one | two parts")
    assert (rows[1]["session_id"], rows[1]["status"], rows[1]["chi_sd"]) == ("ses-a", "failed", "n/a")
    assert rows[1]["reason"] == '<script>alert("x")</script> & next'
    assert len(rows[0]["key"]) == 64


def test_page_escapes_everything_and_needs_no_network(tmp_path):
    root = tmp_path / "<b>study"
    picture = f"sub-01/figures/sub-01_Chimap_{THUMBNAIL}"
    (tmp_path / picture).parent.mkdir(parents=True)
    (tmp_path / picture).write_bytes(b"picture")
    records = [
        record(1, outputs={picture: 7}, warnings=(NASTY,), notes=(f"{root}/sub-01/x.nii: {NASTY}",)),
        Record("sub-02", {"sub": "02"}, FAILED, {}, reason=NASTY, traceback=NASTY),
    ]
    page = write_overview(tmp_path, records, root, missing=2).read_text()
    outline = Outline(page)
    assert outline.tags.count("script") == 1
    assert "b" not in outline.tags
    assert outline.loaded == ["data:,", "data:image/jpeg;base64,cGljdHVyZQ=="]
    assert not re.search(r"https?://|//[a-z]|@import|url\(", page.replace("</", "").partition("<footer>")[0])
    assert "sub-01/figures/sub-01_Chimap.png" in outline.links
    assert all(link.startswith("#sub-01") or link.endswith(".png") for link in outline.links)
    assert "4 acquisitions: 1 done, 1 failed, 2 not tried yet." in page
    cells = {row[0]: row for row in outline.rows[1:]}
    assert set(cells) == {"sub-01 done", "sub-02 failedno map"}
    assert '<script>alert("x")</script>' in cells["sub-02 failedno map"][1]
    assert "sub-01/x.nii: " in cells["sub-01 done"][1]
    assert "study/sub-01/x.nii" not in page
    assert cells["sub-01 done"][2:5] == ["0.0300", "-0.050", "0.060"]


def test_what_is_unlike_the_others_is_marked(tmp_path):
    values = (0.030, 0.031, 0.029, 0.030, 0.032, 0.055)
    records = [record(number, sd) for number, sd in enumerate(values)]
    assert len(records) == LEAST_TO_JUDGE
    found = unlike_others(records)
    assert found["chi_sd"] == {"sub-05"}
    assert found["volume"] == frozenset()
    assert unlike_others(records[1:])["chi_sd"] == frozenset()  # too few to say
    page = write_overview(tmp_path, records, Path("study")).read_text()
    assert '<td class="unusual" data-value="0.055">0.0550</td>' in page
    assert "unlike the others: χ sd" in page
    assert 'value="unusual">unlike the others (1)' in page


@pytest.mark.parametrize("flip", [False, True])
def test_thumbnail_shows_three_views_to_scale(flip):
    """A bright corner towards the subject's right, front and top, in voxels of 2 × 1 × 1 mm."""
    values = np.zeros((10, 40, 30), np.float32)
    mask = np.ones(values.shape, bool)
    mask[:, 0] = False
    values[5:, 20:, 15:] = 0.08
    affine = np.diag([2.0, 1, 1, 1])
    if flip:
        values, mask, affine = values[::-1], mask[::-1], np.diag([-2.0, 1, 1, 1])
    image = thumbnail(values, mask, affine)
    assert image.shape[0] == HEIGHT_PIXELS
    widths = [round(HEIGHT_PIXELS * length / 39) for length in (20, 20, 39)]
    assert image.shape[1] == sum(widths)
    axial = image[:, : widths[0]]
    assert axial[10, -5] == axial[10, widths[0] // 2 + 4] > 200  # right is right, anterior is up
    assert axial[-10, -5] == axial[10, 5] == GREY
    sagittal = image[:, -widths[2] :]
    assert sagittal[HEIGHT_PIXELS // 2 - 20, -5] > 200
    assert sagittal[HEIGHT_PIXELS // 2 + 20, -5] == sagittal[HEIGHT_PIXELS // 2 - 20, 5] == GREY
    coronal = image[:, widths[0] : -widths[2]]
    assert coronal[1, widths[1] // 2] == GREY  # above what the image holds
