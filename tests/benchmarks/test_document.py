"""The page of benchmarks: its tables are the stored results, and its example works."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import unseen
from benchmarks.ablation import find_factor, run_ablation
from benchmarks.document import BLOCK, PAGE, filled
from benchmarks.peers.compare import OWN
from benchmarks.suite.factors import FACTORS
from benchmarks.suite.record import METRICS
from benchmarks.suite.runner import RunSettings
from benchmarks.suite.store import SUITE_RESULTS, read_rows
from benchmarks.tables import TABLES
from qsm_recon.errors import ParameterError

RESULTS = sorted(path.stem for path in SUITE_RESULTS.glob("*.json"))


def test_tables_of_the_page_are_the_stored_results():
    text = PAGE.read_text("utf-8")
    assert filled(text) == text, "run python -m benchmarks.document"
    assert len(BLOCK.findall(text)) >= 6
    assert text.count("<!-- table:") == text.count("<!-- end of table -->") == len(BLOCK.findall(text))


def test_a_changed_result_would_be_seen(tmp_path):
    for name in RESULTS:
        stored = (SUITE_RESULTS / f"{name}.json").read_text("utf-8")
        (tmp_path / f"{name}.json").write_text(re.sub(r'"nrmse": [\d.]+', '"nrmse": 99.9', stored))
    text = PAGE.read_text("utf-8")
    assert "99.9" in filled(text, tmp_path)
    assert filled(text, tmp_path) != text


def lines_of_pages():
    """All lines of the documentation."""
    return {line.strip() for page in PAGE.parent.rglob("*.md") for line in page.read_text("utf-8").splitlines()}


def of_a_table(text):
    """Its lines, without the rule under its head."""
    return [line for line in text.splitlines() if line.startswith("|") and set(line) - set("|- ")]


@pytest.mark.parametrize("name", TABLES)
def test_every_stored_table_stands_on_a_page(name):
    """Of those that are not put in by a program half were compared with what is stored, and half were not."""
    rows = of_a_table(TABLES[name]())
    assert len(rows) > 1
    assert [row for row in rows if row not in lines_of_pages()] == []


def test_what_unseen_heads_gave_stands_on_a_page(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["unseen", "--show"])
    unseen.main()
    rows = of_a_table(capsys.readouterr().out)
    assert len(rows) > 15
    assert [row for row in rows if row not in lines_of_pages()] == []


@pytest.mark.parametrize("name", RESULTS)
def test_stored_rows_are_whole_and_name_no_folder(name):
    rows = read_rows(name)
    assert rows
    for row in rows:
        record = row.record
        assert record.failed or set(record.metrics) == set(METRICS)
        assert record.failed or record.weight is not None or record.job["weight"] == OWN
        for fact in ("version", "commit", "machine", "date", "command"):
            assert record.provenance[fact]
    text = (SUITE_RESULTS / f"{name}.json").read_text("utf-8")
    assert not re.search(r"/(work|tmp|root|home)/", text)
    assert (SUITE_RESULTS / f"{name}.csv").read_text("utf-8").count("\n") == len(rows) + 1


def test_the_factor_of_the_page_works_in_ten_lines(tmp_path, head):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)[1]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    (tmp_path / "stop.py").write_text(code)
    settings = RunSettings(workers=0, store=tmp_path / "s", results=tmp_path / "r", quiet=True)
    factor = find_factor(str(tmp_path / "stop.py"), None, None)
    rows = run_ablation(factor, case=head, weight="default", settings=settings)
    assert [row.tags["level"] for row in rows] == ["1e-1", "1e-2", "1e-3"]
    iterations = [row.record.iterations for row in rows]
    assert iterations == sorted(iterations)
    assert iterations[0] < iterations[2]


def test_all_factors_of_the_issue_are_there():
    asked = "fidelity weight input preconditioner kernel padding regulariser voxel-size obliquity snr strong-source"
    assert set(FACTORS) >= {*asked.split(), "model-error"}
    for factor in FACTORS.values():
        jobs = [factor.job(level, factor.base, "phantom:sim2?size=reduced", "truth") for level in factor.levels]
        assert len(set(jobs)) == len(jobs) >= 3
        for job in jobs:
            job.make_solver()
        assert not factor.axis or sorted(map(float, factor.levels)) == list(map(float, factor.levels))


def test_factors_that_make_no_sense_are_refused(tmp_path, head):
    with pytest.raises(ParameterError, match="factor 'kernal' is unknown; did you mean 'kernel'"):
        find_factor("kernal", None, None)
    with pytest.raises(ParameterError, match="no such file"):
        find_factor(str(tmp_path / "absent.py"), None, None)
    (tmp_path / "empty.py").write_text("FACTOR = 3\n")
    with pytest.raises(ParameterError, match="FACTOR is a int"):
        find_factor(str(tmp_path / "empty.py"), None, None)
    with pytest.raises(ParameterError, match="threshhold"):
        find_factor("", "threshhold=0.1,0.2", "tkd")
    with pytest.raises(ParameterError, match="out of range"):
        find_factor("", "threshold=0.1,2", "tkd")
    with pytest.raises(ParameterError, match="varies the phantom"):
        run_ablation(FACTORS["snr"], case=head)


@pytest.mark.parametrize("weight", ["truth", "auto", "fixed:0.1"])
def test_the_main_parameter_is_varied_only_where_nothing_else_sets_it(weight, head, tmp_path):
    """The table said 0.1 and 0.2, and its rows were of what the search found from there."""
    factor = find_factor("", "threshold=0.1,0.2", "tkd")
    settings = RunSettings(workers=0, store=tmp_path / "s", results=tmp_path / "r", quiet=True)
    with pytest.raises(ParameterError, match=f"level '0.1' sets threshold, .* --weight {weight} would"):
        run_ablation(factor, case=head, weight=weight, settings=settings)
    assert list(tmp_path.iterdir()) == []
    rows = run_ablation(factor, case=head, weight="default", settings=settings)
    assert [row.record.weight for row in rows] == [0.1, 0.2]


def test_a_wrong_direction_costs_accuracy(head, tmp_path):
    """A level by a function of the case, which the record names."""
    settings = RunSettings(workers=0, store=tmp_path / "s", results=tmp_path / "r", quiet=True)
    level = FACTORS["model-error"].levels["direction off by 5°"]
    factor = FACTORS["model-error"]
    two = type(factor)("direction", "", {"none": factor.levels["none"], "off": level}, base="tkd")
    right, wrong = (row.record for row in run_ablation(two, case=head, weight="default", settings=settings))
    assert wrong.metrics["nrmse"] > right.metrics["nrmse"] + 0.3
    assert wrong.job["prepare"].endswith("direction_off_by_5_degrees")
    assert Path(tmp_path / "r" / "ablation_direction.csv").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise")
def test_a_reader_that_goes_leaves_no_traceback():
    command = [sys.executable, "-m", "benchmarks.rc2", "--stage", "2", "--size", "full", "--show"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PAGE.parents[1]) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141
