"""The suite on data of every kind: one small head in four layouts, by the command that a user gives."""

import json

import nibabel
import numpy as np
import pytest

from benchmarks import rc2
from benchmarks.suite.cases import name_of
from benchmarks.suite.job import Job
from benchmarks.suite.runner import RunSettings, run_plan
from benchmarks.suite.stages import other_data
from benchmarks.suite.store import read_rows
from benchmarks.suite.studies import STUDIES
from benchmarks.suite.study import StudyOptions
from qsm_recon.errors import ParameterError
from qsm_recon.units import hz_per_ppm

AFFINE = np.diag([2.0, 2, 2, 1])


@pytest.fixture(scope="module")
def layouts(small_head, tmp_path_factory):
    """The small head as the folders of rc1, rc2, bids and qsmci; RC2's is at 7 T with the challenge's echo times."""
    root = tmp_path_factory.mktemp("layouts")
    with np.load(small_head) as stored:
        head = {name: stored[name] for name in stored.files}
    mask, chi = head["mask"].astype(np.uint8), head["chi_ppm"]
    field = head["field_hz"] / hz_per_ppm(float(head["b0_tesla"]))

    def save(path, values):
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.asarray(values), AFFINE), path)

    save(root / "one" / "localfield.nii.gz", field * mask)
    save(root / "one" / "mask.nii.gz", mask)
    save(root / "one" / "magnitude.nii.gz", head["magnitude"][..., 0])
    save(root / "one" / "chi_cosmos.nii.gz", chi)
    inputs = root / "ci" / "inputs"
    for name, image in (("magnitude", head["magnitude"]), ("phase", head["phase"]), ("mask", mask)):
        save(inputs / f"{name}.nii.gz", image)
    times = [float(time) for time in head["echo_times_s"]]
    (inputs / "params.json").write_text(
        json.dumps({"TE": times, "B0": 3.0, "B0_dir": [0, 0, 1], "voxel_size": [2] * 3})
    )
    save(root / "ci" / "groundtruth" / "localfield.nii.gz", (field * mask).astype(np.float32))
    save(root / "ci" / "groundtruth" / "chimap.nii.gz", chi)
    for echo, time in enumerate(times):
        for part, kind in (("mag", "magnitude"), ("phase", "phase")):
            name = root / "study" / "sub-1" / "anat" / f"sub-1_echo-{echo + 1}_part-{part}_MEGRE"
            save(name.with_suffix(".nii.gz"), head[kind][..., echo])
            name.with_suffix(".json").write_text(json.dumps({"EchoTime": time, "MagneticFieldStrength": 3.0}))
    (root / "study" / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.9.0"}')
    save(root / "study" / "derivatives" / "truth" / "sub-1" / "anat" / "sub-1_mask.nii.gz", mask)
    save(root / "study" / "derivatives" / "truth" / "sub-1" / "anat" / "sub-1_Chimap.nii.gz", chi)
    challenge = np.array([0.004, 0.012, 0.020, 0.028])
    phase = np.angle(np.exp(2j * np.pi * (field * hz_per_ppm(7.0))[..., None] * challenge))
    air = np.random.default_rng(2).uniform(-np.pi, np.pi, phase.shape)  # around the head, as everywhere
    phase = np.where(mask[..., None] > 0, phase, air)
    decay = head["magnitude"][..., :1] * np.exp(-30 * challenge)
    case = root / "two" / "Sim2Snr1"
    save(case / "Phase.nii.gz", phase.astype(np.float32))
    save(case / "Magnitude.nii.gz", decay.astype(np.float32))
    save(case / "MaskBrainExtracted.nii.gz", mask)
    save(case / "GT" / "Chi.nii.gz", chi)
    truth = "derivatives/truth/sub-1/anat/sub-1_Chimap.nii.gz"
    return [
        f"rc1:{root / 'one'}", f"rc2:{case}", f"bids:{root / 'study'}?truth={truth}", f"qsmci:{root / 'ci'}"
    ]  # fmt: skip


@pytest.mark.parametrize("stage", [1, 2])
def test_every_kind_of_data_gives_a_row_of_every_method_and_input(stage, layouts, tmp_path, capsys):
    words = ["--stage", str(stage), "--only", "tkd", "tikhonov", "--workers", "0", "--quiet"]
    where = ["--store", str(tmp_path / "s"), "--results", str(tmp_path / "r")]
    assert rc2.main([*words, *where, "--data", *layouts]) == 0
    printed = capsys.readouterr().out
    rows = [
        row for row in read_rows(f"rc2_stage{stage}_data", tmp_path / "r") if row.tags["choice"] != "each" or stage == 2
    ]
    assert [row.record.failed for row in rows if row.record.failed] == []
    # tkd is given everything, tikhonov also the field only
    assert len(rows) == 3 * len(layouts)
    for text in layouts:
        mine = {
            (row.tags["method"], row.tags["input"]): row.record for row in rows if row.tags["data"] == name_of(text)
        }
        assert set(mine) == {
            ("`tkd`", "as given"), ("`tikhonov`", "as given"), ("`tikhonov`", "as given, field only")
        }  # fmt: skip
        table = printed.partition(f"**{name_of(text)}**")[2].partition("SSIM")[0]
        for (method, given), record in mine.items():
            assert f"| {method} | {given} | {record.metrics['nrmse']:.1f} |" in table
            assert record.metrics["nrmse"] < 75


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("rc1:nowhere", "nowhere: no such file or folder"),
        ("rc3:.", "rc3"),
        ("nowhere.npz", "no such file"),
        ("bids:.?subject", "subject"),
    ],
)
def test_data_that_are_not_there_are_refused_in_one_line(text, reason, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert rc2.main(["--stage", "1", "--only", "tkd", "--workers", "0", "--results", "r", "--data", text]) == 2
    printed = capsys.readouterr()
    assert reason in printed.err or reason in printed.out
    assert printed.err.count("\n") <= 1


def test_two_data_sets_of_one_name_are_refused():
    with pytest.raises(ParameterError, match="are both called 'rc1:case'"):
        other_data(["rc1:/a/case", "rc1:/b/case"])
    assert len(other_data(["rc1:/a/case", "rc2:/a/case", "rc1:/a/case"])) == 2


def test_one_setting_of_the_2016_data_is_a_row_of_its_study(layouts, tmp_path):
    settings = RunSettings(workers=0, store=tmp_path / "s", results=tmp_path / "r", quiet=True)
    planned = STUDIES["rc1"].plan(StudyOptions(data=layouts[0], only=("rts",)))(lambda _job: None)
    fixed = [one for one in planned if one.job.weight not in ("truth", "auto")]
    assert [one.job for one in fixed] == [Job.of("rts", layouts[0], 2e-3), Job.of("rts", layouts[0])]
    rows = run_plan("rc1", lambda _known: fixed, settings)
    assert "| `rts` | 0.002 | 0.002 |" in STUDIES["rc1"].table(rows)
    assert "| `rts` | default |" in STUDIES["rc1"].table(rows)
    assert "MEDI 60.0/0.531" in STUDIES["rc1"].table(rows)
