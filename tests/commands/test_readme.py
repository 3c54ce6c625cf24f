"""What the README shows works as it stands there."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

run_module, lcurve, evaluate, phantom = (
    importlib.import_module(f"qsm_recon.{name}")
    for name in ("commands.run", "commands.lcurve", "commands.evaluate", "phantom.__main__")
)
ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"


def commands():
    """Words of every command line in the README, without the interpreter."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[2:] for line in lines if line.startswith(".venv/bin/python -m qsm_recon.")]


def test_every_command_of_the_readme_is_understood():
    """Options that were renamed, or never were, would be refused here."""
    parsers = {
        "qsm_recon.run": run_module.build_parser(),
        "qsm_recon.lcurve": lcurve.build_parser(),
        "qsm_recon.evaluate": evaluate.build_parser(),
        "qsm_recon.phantom": phantom.build_parser(),
        "qsm_recon.cohort": importlib.import_module("qsm_recon.cohort.command").build_parser(),
    }
    found = commands()
    assert {words[0] for words in found} >= {"qsm_recon.run", "qsm_recon.lcurve", "qsm_recon.evaluate"}
    for name, *words in found:
        parsers[name].parse_args(words)


def test_every_exit_code_is_explained():
    """The reference did not know the code of a failed acquisition, and neither page that of a closed pipe."""
    sources = (ROOT / "qsm_recon").rglob("*.py")
    known = {
        code for path in sources for code in re.findall(r"^EXIT_\w+ = (\d+)$", path.read_text("utf-8"), re.MULTILINE)
    }
    assert known >= {"0", "1", "2", "3", "130", "141"}
    assert set(re.findall(r"^\| (\d+) \|", README.read_text("utf-8"), re.MULTILINE)) == known
    reference = (ROOT / "docs" / "reference" / "commands.md").read_text("utf-8")
    codes = reference.partition("## Exit codes")[2].partition("\n\n## ")[0].partition("\n\n")[2].partition("\n\n")[0]
    assert set(re.findall(r"(?:^|; )(\d+) ", " ".join(codes.split()))) == known


@pytest.mark.slow
def test_the_bids_example_runs_on_a_bids_data_set(tmp_path, monkeypatch, run):
    """A set that the phantom's command writes, its mask among the derivatives as in any other."""
    monkeypatch.chdir(tmp_path)
    size = ["--size", "reduced", "--voxel-size", "5", "5", "5", "--no-cache"]
    assert phantom.main(["--out", "study", "--format", "bids", *size]) == 0
    (words,) = [words for words in commands() if any(word.startswith("bids:") for word in words)]
    done = run(*(word.replace("/data/study", "study").replace("subject=01", "subject=sim2") for word in words[1:]))
    assert done.code == 0, done.err
    assert "mask: study/derivatives/truth/sub-sim2/anat/sub-sim2_mask.nii.gz, " in done.out
    assert (tmp_path / "result" / "chi.nii.gz").exists()


@pytest.mark.parametrize(
    ("code", "module", "arguments"),
    [
        (2, run_module, ["--algo", "none"]),
        (2, lcurve, ["--algo", "none"]),
        (2, evaluate, ["a.nii", "--truth", "t.nii", "--mask", "m.nii"]),
        (2, phantom, ["--out", "x", "--snr", "-1"]),
    ],
)
def test_bad_input_has_the_code_of_the_table(code, module, arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert module.main(arguments) == code
    assert f"| {code} | bad usage or input" in README.read_text("utf-8")
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_evaluation_ends_with_its_code(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "_load_case", interrupt)
    assert evaluate.main(["a.nii", "--truth", "t.nii", "--mask", "m.nii"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.slow
def test_its_picture_is_what_the_demo_gives(tmp_path, run):
    """It told 107 iterations long after the demo took 74.  Another processor may take one more or less."""
    image = pytest.importorskip("PIL.Image")

    def title(path):
        with image.open(path) as picture:
            found = re.search(r"weight (\S+) .*· (\d+) iterations · NRMSE (\S+) %", picture.info["Title"])
        return [float(number) for number in found.groups()]

    assert run("--algo", "fansi", "--dataset", "phantom:sim2?size=reduced", "--out", str(tmp_path)).code == 0
    shown, made = title(ROOT / "docs" / "pictures" / "demo.png"), title(tmp_path / "figure.png")
    assert shown == pytest.approx(made, rel=0.03)
