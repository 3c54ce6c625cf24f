"""A picture needs the table alone: maps that are not kept are made again, at the weights of its rows."""

import numpy as np
import pytest

from benchmarks import figures
from benchmarks.figures import main
from benchmarks.rc2 import table_name
from benchmarks.suite.job import Job
from benchmarks.suite.runner import Planned, RunSettings, run_plan
from benchmarks.suite.stages import EACH, ONE_SET
from benchmarks.suite.store import Store
from qsm_recon.errors import ParameterError

PHANTOM = "phantom:sim2?size=reduced&voxel_size=4,4,4"
SHOWN = ("top_five", "spider", "metric_correlation", "scatter_matrix")
TAGS = {"class": "closed form", "input": "fit", "choice": ONE_SET, "snr": "SNR1"}


def draw(results, store, *options):
    return main(["--size", "reduced", "--results", str(results), "--store", str(store), *options])


def planned(*methods):
    """Jobs that keep their maps: SIM1 and SIM2, which are one phantom here."""
    return [
        Planned(Job.of(method, PHANTOM, "truth"), {**TAGS, "method": f"`{method}`", "data": data}, keep_map=True)
        for method in methods
        for data in ("SIM1", "SIM2")
    ]


def test_a_map_that_is_not_kept_is_made_again_at_the_weight_of_its_row(tmp_path, capsys):
    results, store, empty = (tmp_path / name for name in ("results", "store", "empty"))
    settings = RunSettings(workers=0, store=store, results=results, quiet=True)
    record = run_plan(table_name(1, "reduced"), lambda _known: planned("tkd"), settings)[0].record
    picture = results / "stage1_reduced_top_five.png"
    assert draw(results, empty) == 0
    assert "1 of 1 maps are not there" in capsys.readouterr().out
    assert not picture.exists()

    table = results / f"{table_name(1, 'reduced')}.json"
    was = record.metrics["nrmse"]
    assert draw(results, empty, "--solve") == 0
    said = capsys.readouterr().out
    assert "solving again: tkd" in said
    assert "in the table" not in said
    assert picture.exists()
    again = Store(empty).load_map(Job.again(record.job, record.weight).key())
    np.testing.assert_allclose(again, Store(store).load_map(record.key), rtol=0, atol=1e-6)

    table.write_text(table.read_text().replace(repr(was), repr(was + 0.5)))  # as if another build had made the row
    assert draw(results, empty) == 0
    said = capsys.readouterr().out
    assert "solving again" not in said
    assert "are not there" not in said
    assert f"NRMSE {was:.2f}, {was + 0.5:.2f} in the table" in said


def test_titles_say_data_set_and_what_chose_the_weights(tmp_path, monkeypatch):
    """They said "Stage 1"."""
    titles = {}

    def keep_title(_, name, figure):
        titles[name] = figure.get_suptitle() or figure.axes[0].get_title()

    results, store = tmp_path / "results", tmp_path / "store"
    settings = RunSettings(workers=0, store=store, results=results, quiet=True)
    plan = planned("tkd")
    chosen = [
        Planned(Job.of("tkd", PHANTOM, "cone"), {**one.tags, "choice": EACH, "class": "closed form"}) for one in plan
    ]
    run_plan(table_name(1, "reduced"), lambda _known: plan + chosen, settings)
    monkeypatch.setattr(figures._Drawing, "_save", keep_title)
    assert draw(results, store) == 0
    first = "Stage 1, SNR 100, SIM1 and SIM2, reduced phantom: weights by cone, one for both"
    assert {name: titles[f"stage1_reduced_{name}"].partition("\n")[0] for name in SHOWN} == dict.fromkeys(SHOWN, first)


def test_a_missing_folder_of_tables_is_one_line(tmp_path, capsys):
    """It told that nothing was stored for each stage, and ended well."""
    assert draw(tmp_path / "absent", tmp_path) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / 'absent'}: no such folder")
    assert said.count("\n") == 1


def test_part_of_the_leaders_does_not_replace_a_picture_of_all(tmp_path, capsys):
    """Drawn where one map of five was kept, it took the place of the five."""
    results, store = tmp_path / "results", tmp_path / "store"
    settings = RunSettings(workers=0, store=store, results=results, quiet=True)
    records = run_plan(table_name(1, "reduced"), lambda _known: planned("tkd", "tikhonov"), settings)
    picture = results / "stage1_reduced_top_five.png"
    assert draw(results, store) == 0
    whole = picture.read_bytes()
    for path in (store / "maps").glob(f"{records[0].record.key}*"):
        path.unlink()
    capsys.readouterr()
    assert draw(results, store) == 0
    assert "1 of 2 maps are not there" in capsys.readouterr().out
    assert picture.read_bytes() == whole


def test_defaults_are_asked_for_again_as_defaults():
    job = Job.of("tv", PHANTOM, parameters={"margin": 4.0}, magnitude=False)
    assert Job.again(job.description(), 0.123) == job
    found = Job.again(Job.of("tv", job.case, "auto").description(), 0.125)
    assert found == Job.of("tv", job.case, 0.125)
    with pytest.raises(ParameterError, match=r"tv: the record does not hold what was done"):
        Job.again(Job.of("tv", job.case, prepare="mine.py:turned").description(), 0.1)
