"""What file names, and JSON files of these names, say of echoes."""

import json
from pathlib import Path

import pytest

from qsm_recon.datasets.echo_order import check_strength, counting_numbers, echo_numbers, in_order, sidecar_values
from qsm_recon.errors import DataError


def paths(pattern, numbers):
    return tuple(Path(pattern.format(number)) for number in numbers)


@pytest.mark.parametrize("pattern", ["scan/e{}/phase.nii.gz", "scan/ph_{}.nii.gz", "1.5T/ph.{}.nii.gz"])
def test_files_and_folders_as_a_shell_lists_them_are_put_in_order(pattern):
    """Files of one name in folders 1, 10, 11, 2 … stayed as they were: another echo for every time but one."""
    given = tuple(sorted(paths(pattern, range(1, 12)), key=str))
    ordered, note = in_order(given, "phase")
    assert ordered == paths(pattern, range(1, 12)) != given
    assert "alphabetical order (1, 10, 11, 2," in note
    assert in_order(ordered, "phase") == (ordered, None)


def test_echo_times_in_names_have_fractions():
    """TE12.3 comes before TE4.1 in a shell."""
    times = paths("ph_TE{}.nii.gz", (4.1, 12.3, 20.5))
    assert in_order(times, "phase") == (times, None)
    with pytest.raises(DataError, match=r"phase: the file names say echoes 12.3, 20.5, 4.1; give .*order of the echo"):
        in_order(sorted(times), "phase")


@pytest.mark.parametrize(
    "names",
    [
        ("1.9.nii", "1.10.nii", "1.11.nii"),  # no fractions: they are counted behind the point
        ("a1.nii", "b2.nii"),
        ("1_of_3.nii", "2_of_4.nii"),
        ("e1/ph1.nii", "e2/ph.nii"),
        ("a/x.nii", "b/x.nii"),
        ("same.nii", "same.nii"),
    ],
)
def test_other_differences_say_at_most_what_they_counted(names):
    numbers = counting_numbers([Path(name) for name in names])
    assert numbers in ((), (9, 10, 11))


@pytest.mark.parametrize(
    "pattern",
    [
        "sub-01_acq-multiecho3_echo-{}_part-phase_MEGRE.nii.gz",
        "Multi_Echo_5_e{}_ph.nii.gz",
        "sub-01_ses-echo{0}_echo-{0}_part-phase_MEGRE.nii.gz",
    ],
)
def test_a_number_that_all_names_share_is_not_that_of_the_echo(pattern):
    """It was: names that say echoes 3, 3, 3 are in no order, and the scan was refused whatever the order."""
    given = paths(pattern, range(1, 12))
    assert echo_numbers(given) == tuple(range(1, 12))
    assert in_order(given, "phase") == (given, None)
    assert in_order(sorted(given), "phase")[0] == given
    with pytest.raises(DataError, match="the file names say echoes 3, 2, 1"):
        in_order(given[2::-1], "phase")


def test_names_that_share_all_their_echo_numbers_are_told_apart_by_others():
    given = paths("GRE_echo5_TE{}.nii.gz", (4, 8, 12))
    assert echo_numbers(given) == ()
    assert in_order(given, "phase") == (given, None)
    assert echo_numbers(given[:1]) == (5,)
    assert echo_numbers([Path("a_echo-1.nii"), Path("b_echo5_echo-2.nii")]) == (1, 2)
    assert echo_numbers([]) == ()


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "NII.GZ", "mgz", "mgh", "img", "hdr"])
def test_the_json_file_beside_an_image_is_found_whatever_its_format(tmp_path, ending):
    image = tmp_path / f"a.nii_1.5mm.{ending}"
    (tmp_path / "a.nii_1.5mm.json").write_text(json.dumps({"EchoTime": 0.004, "MagneticFieldStrength": 7}))
    assert sidecar_values([image], "EchoTime") == (0.004,)
    with pytest.raises(DataError, match="says a field strength of 7 T, but 3 T is given"):
        check_strength([image], 3)


@pytest.mark.parametrize("value", ["0.004", True, [0.004, "0.008"], {}])
def test_a_sidecar_with_something_else_than_a_number_is_not_passed_over(tmp_path, value):
    """Text for a number was as good as nothing: neither taken nor refused."""
    image = tmp_path / "phase.nii.gz"
    (tmp_path / "phase.json").write_text(json.dumps({"EchoTime": value}))
    with pytest.raises(DataError, match=r"phase\.json: 'EchoTime' is .*; expected a number"):
        sidecar_values([image], "EchoTime")
    (tmp_path / "phase.json").write_text(json.dumps({"EchoTime": None}))
    assert sidecar_values([image], "EchoTime") == ()
