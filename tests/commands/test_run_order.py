"""Volumes of a 4D file in another order than the echo times: said in the log and in the report, and never of others."""

import json
from pathlib import Path

import numpy as np
import pytest

from qsm_recon.datasets import load_case

SUSPECT = "warning: echoes: they may be in another order than their times: "


def found(done):
    """The line of the log, the note of the report and the test of it."""
    assert done.code == 0
    document = json.loads(Path("out/report.json").read_text("utf-8"))["input"]
    notes = [note for note in document["notes"] if note.startswith(SUSPECT)]
    lines = [line for line in done.err.splitlines() if SUSPECT in line]
    assert len(notes) == len(lines)
    return notes, document["field_estimate"]


def other_order(files, scan, order, part="magnitude phase"):
    return [
        word
        for name, images in (("magnitude", scan.magnitude), ("phase", scan.phase))
        for word in (
            f"--{name}",
            files.write("mixed_" + name, images[..., order]) if name in part else f"{name}s.nii.gz",
        )
    ]


@pytest.mark.parametrize("part", ["magnitude phase", "phase"])
@pytest.mark.parametrize("order", [(1, 0, 3, 2), (0, 2, 1, 3), (1, 0, 2, 3), (0, 1, 3, 2), (2, 0, 3, 1)])
def test_another_order_is_warned_of(files, scan, inputs, run, order, part):
    given = other_order(files, scan, list(order), part)
    if order == (2, 0, 3, 1) and part != "phase":
        assert "the images are in another order than the echo times" in run(*given, *inputs.echoes[4:]).err
        return
    (note,), estimate = found(run(*given, *inputs.echoes[4:], "--algo", "tkd", "--quiet"))
    right = 1 + np.argsort(order)
    numbers = [", ".join(map(str, either)) for either in (right, right[::-1])]
    assert any(f"follows one frequency far better in the order {text} or its reverse" in note for text in numbers)
    assert ("but signal decays" in note) == (part != "phase")
    assert "check the order of the volumes in magnitude and phase, and the echo times (--te)" in note
    assert estimate["order_test"]["residual_in_order"] < 0.2 * estimate["order_test"]["residual"]
    assert not estimate["bipolar"]


@pytest.mark.parametrize(("order", "growing"), [((1, 0, 3, 2), 2), ((3, 2, 1, 0), 4), ((0, 2, 1, 3), 3)])
def test_a_magnitude_that_grows_is_warned_of(files, scan, inputs, run, order, growing):
    """The phase alone cannot tell a series from its reverse."""
    given = other_order(files, scan, list(order), "magnitude")
    (note,), estimate = found(run(*given, *inputs.echoes[4:], "--algo", "tkd", "--quiet"))
    assert not estimate["order_test"]["better_order"]
    assert f"the magnitude of echo {growing} is 2" in note


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("half_phase", [0.0, 0.1, 0.4])
def test_the_right_order_is_not(files, scan, inputs, run, half_phase, count):
    """Bipolar or not."""
    along = np.linspace(0, 0.3, scan.phase.shape[0])[:, None, None, None] + half_phase
    signs = np.array([1, -1, 1, -1])[:count] * (half_phase > 0)
    phase = np.angle(np.exp(1j * (scan.phase[..., :count] + along * signs))).astype(np.float32)
    given = ("--phase", files.write("first", phase), "--magnitude", files.write("m", scan.magnitude[..., :count]))
    times = inputs.echoes[-4:][:count]
    words = [*given, *inputs.echoes_without_times[4:], "--te", *times, "--phase-unit", "rad"]
    notes, estimate = found(run(*words, "--algo", "tkd", "--quiet"))
    assert not notes
    assert estimate["bipolar"] == (half_phase > 0 and count > 2)


@pytest.mark.parametrize("settings", ["sim1?snr=50", "sim2?snr=50&background=yes", "sim1?snr=50&b0=3"])
def test_heads_are_in_order(settings, cache):
    case = load_case(f"phantom:{settings}&size=reduced")
    assert not case.field_estimate["order_test"]["suspect"]
    assert not [note for note in case.notes if "order" in note]
