"""What the published phantom does not have: how it is asked for, and that it has the physical size asked for."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from qsm_recon.backend.cache_folder import cache_folder
from qsm_recon.datasets import load_case
from qsm_recon.errors import ParameterError
from qsm_recon.phantom import Lesion, PhantomParameters, build_phantom
from qsm_recon.phantom import __main__ as command
from qsm_recon.phantom.cache import cached_files, key
from qsm_recon.phantom.export import LAYOUTS, export_phantom
from qsm_recon.phantom.lesions import cover, parse_lesions
from qsm_recon.phantom.parameters import DETAILS
from qsm_recon.phantom.presets import PRESETS, with_preset
from qsm_recon.phantom.signal import dipole_field
from qsm_recon.phantom.tissue import BLOOD, CSF, GREY, WHITE
from qsm_recon.units import rad_per_ppm

CALCIFICATION = Lesion(-2.6, (30.0, -40.0, 24.0), (6.0, 6.0, 6.0))
HAEMORRHAGE = Lesion(1.4, (-28.0, -36.0, 25.0), (7.0, 5.0, 6.0))
COARSE = {"case": "sim2", "size": "reduced", "voxel_size_mm": (4.0, 4.0, 4.0), "snr": math.inf}
DETAILED = {
    **COARSE,
    "calcifications": (CALCIFICATION,),
    "haemorrhages": (HAEMORRHAGE,),
    "texture_ppm": 0.01,
    "vessel_density": 1.5,
    "remnant_ppm": 0.004,
    "microstructure_ppm": -0.02,
}


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """Build heads; the module shares their anatomy through a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QSM_RECON_CACHE", str(tmp_path_factory.mktemp("cache")))
        cache_folder.cache_clear()
        yield lambda **options: build_phantom(PhantomParameters(**options))
    cache_folder.cache_clear()


@pytest.fixture(scope="module")
def plain(heads):
    return heads(**COARSE)


@pytest.fixture(scope="module")
def detailed(heads):
    return heads(**DETAILED)


# How it is asked for


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-2.6@12,-8,6:3.2", (Lesion(-2.6, (12, -8, 6), (3.2, 3.2, 3.2)),)),
        ("1.4@0.5,1,2:4,3,3", (Lesion(1.4, (0.5, 1, 2), (4, 3, 3)),)),
        ("-1@1,2,3:4; -2@5,6,7:1", (Lesion(-1, (1, 2, 3), (4, 4, 4)), Lesion(-2, (5, 6, 7), (1, 1, 1)))),
        ("none", ()),
    ],
)
def test_lesions_are_read_as_they_are_written(text, expected):
    lesions = parse_lesions(text, "calcification")
    assert lesions == expected
    assert parse_lesions(";".join(map(str, lesions)) or "none", "calcification") == expected


@pytest.mark.parametrize(
    "text", ["", "-2", "-2@1,2:3", "-2@1,2,3", "-2@1,2,3:1,2", "a@1,2,3:4", "-2@1,2,3:4;", "-2:1@1"]
)
def test_lesions_written_otherwise_are_refused(text):
    with pytest.raises(ParameterError, match="phantom calcification: expected PPM@X,Y,Z:RADIUS"):
        parse_lesions(text, "calcification")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"texture_ppm": -0.001}, "texture_ppm: expected a standard deviation from 0 to 0.05 ppm"),
        ({"texture_ppm": 0.5}, "texture_ppm"),
        ({"texture_ppm": math.nan}, "texture_ppm"),
        ({"texture_slope": 0.0}, "texture_slope: expected a slope from 1 to 6"),
        ({"vessel_density": 6.0}, "vessel_density"),
        ({"vessel_ppm": -0.1}, "vessel_ppm"),
        ({"remnant_ppm": 1.0}, "remnant_ppm"),
        ({"microstructure_ppm": 0.2}, "microstructure_ppm"),
        ({"microstructure_ppm": "much"}, "microstructure_ppm"),
        ({"detail_seed": -1}, "detail_seed"),
        ({"calcifications": (replace(CALCIFICATION, susceptibility_ppm=1.0),)}, "from -10 to below 0 ppm"),
        ({"calcifications": (replace(CALCIFICATION, half_axes_mm=(3.0, 0.1, 3.0)),)}, "radius from 0.5 to 30 mm"),
        ({"calcifications": (replace(CALCIFICATION, centre_mm=(300.0, 0.0, 0.0)),)}, "a place in the head"),
        ({"haemorrhages": (replace(HAEMORRHAGE, susceptibility_ppm=math.nan),)}, "from above 0 to 10 ppm"),
        ({"haemorrhages": "1@1,2,3:4"}, "parse_lesions reads"),
        ({"background": True, "remnant_ppm": 0.01}, "ask for one of them"),
    ],
)
def test_refused(options, words):
    with pytest.raises(ParameterError, match=words):
        PhantomParameters(**options)


def test_lesions_outside_the_brain_are_refused_before_anything_is_drawn(heads):
    before = cached_files()
    for place in ((0.0, 80.0, 60.0), (62.0, 0.0, 60.0)):
        with pytest.raises(ParameterError, match=r"% of it lies in the brain.*x points to the right"):
            heads(**COARSE, calcifications=(replace(CALCIFICATION, centre_mm=place),))
    assert cached_files() == before


def test_options_of_the_data_set(monkeypatch, phantom):
    asked = []
    monkeypatch.setattr(
        "qsm_recon.datasets.phantom_case.build_phantom", lambda parameters, **_: (asked.append(parameters), phantom)[1]
    )
    load_case(
        "phantom:sim1?texture=0.01&texture_slope=2.5&calcification=-2.6@30,-40,24:6&haemorrhage=1.4@-28,-36,25:7,5,6"
        "&vessels=0.5&vessel_ppm=0.3&remnant=0.004&microstructure=-0.02&detail_seed=7&field=true"
    )
    load_case("phantom:sim2?anatomy=invivo&texture=0.005&calcification=none&field=true")
    load_case("phantom:sim2?haemorrhage=%2B1@1,2,3:4;2@5,6,7:8&field=true")
    assert asked == [
        PhantomParameters(
            case="sim1", texture_ppm=0.01, texture_slope=2.5, calcifications=(CALCIFICATION,),
            haemorrhages=(HAEMORRHAGE,), vessel_density=0.5, vessel_ppm=0.3, remnant_ppm=0.004,
            microstructure_ppm=-0.02, detail_seed=7,
        ),
        PhantomParameters(**{**PRESETS["invivo"], "texture_ppm": 0.005, "calcifications": ()}),
        PhantomParameters(haemorrhages=(Lesion(1, (1, 2, 3), (4, 4, 4)), Lesion(2, (5, 6, 7), (8, 8, 8)))),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("specification", "words"),
    [
        ("phantom:sim2?texture=strong", "option texture"),
        ("phantom:sim2?texture=0.5", "texture_ppm"),
        ("phantom:sim2?calcification=2@1,2,3:4", "calcifications 2@1,2,3:4: expected a susceptibility"),
        ("phantom:sim2?haemorrhage=big", "phantom haemorrhage: expected PPM@X,Y,Z:RADIUS"),
        ("phantom:sim2?anatomy=textur", "anatomy: unknown 'textur'; did you mean 'textured'"),
        ("phantom:sim2?textures=1", "did you mean 'texture"),
        ("phantom:sim2?anatomy=invivo&background=yes", "ask for one of them"),
    ],
)
def test_bad_options_of_the_data_set(specification, words):
    with pytest.raises(ParameterError) as caught:
        load_case(specification)
    assert words in str(caught.value)


def test_options_of_the_command(tmp_path, monkeypatch, capsys, phantom):
    asked = []
    monkeypatch.setattr(command, "build_phantom", lambda parameters, cache: (asked.append(parameters), phantom)[1])
    words = ["--out", str(tmp_path / "out"), "--anatomy", "textured", "--texture", "0.004", "--vessel-ppm", "0.3"]
    words += ["--calcification=-2.6@30,-40,24:6", "--haemorrhage", "1.4@-28,-36,25:7,5,6", "--microstructure", "-0.02"]
    assert command.main([*words, "--detail-seed", "3"]) == 0
    expected = {**PRESETS["textured"], "texture_ppm": 0.004, "vessel_ppm": 0.3, "microstructure_ppm": -0.02}
    expected |= {"calcifications": (CALCIFICATION,), "haemorrhages": (HAEMORRHAGE,), "detail_seed": 3}
    assert asked == [PhantomParameters(**expected)]
    assert command.main(["--out", str(tmp_path / "none"), "--remnant", "3"]) == 2
    assert capsys.readouterr().err.startswith("error: phantom remnant_ppm: expected")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_give_way_to_what_is_given(name):
    PhantomParameters(**with_preset(name, {}))
    given = {"texture_ppm": 0.0, "remnant_ppm": None}
    assert with_preset(name, given) == {**PRESETS[name], "texture_ppm": 0.0}
    assert PRESETS["published"] == {}


def test_keys_of_the_published_phantom_do_not_depend_on_options_it_lacks():
    published = PhantomParameters()
    assert not set(published.changed()) & set(DETAILS)
    assert PhantomParameters(texture_ppm=0.0, haemorrhages=()).changed() == published.changed()
    changes = {
        "texture_ppm": 0.01, "texture_slope": 2.0, "calcifications": (), "haemorrhages": (HAEMORRHAGE,),
        "vessel_density": 2.0, "vessel_ppm": 0.2, "remnant_ppm": 0.01, "microstructure_ppm": 0.01, "detail_seed": 1,
    }  # fmt: skip
    assert set(changes) == set(DETAILS)
    keys = {key("images", PhantomParameters(**{name: value}).changed()) for name, value in changes.items()}
    assert len(keys | {key("images", published.changed())}) == len(changes) + 1


# Its physical size


@pytest.mark.parametrize("half_axes", [(3.0, 3.0, 3.0), (0.5, 0.5, 0.5), (4.0, 2.0, 7.0), (30.0, 1.0, 12.0)])
@pytest.mark.parametrize("spacing", [(0.65, 0.65, 0.65), (1.33, 1.33, 1.33), (0.65, 1.3, 2.0)])
def test_a_lesion_has_the_volume_of_its_ellipsoid(half_axes, spacing):
    lesion = Lesion(-2.0, (1.3, 2.2, -0.7), half_axes)
    axes = [np.arange(-36, 36, step, dtype=np.float32) for step in spacing]
    box, filled = cover(lesion, axes, spacing)
    assert filled.min() >= 0
    assert filled.max() <= 1
    assert filled.sum(dtype=float) * math.prod(spacing) == pytest.approx(lesion.volume_mm3, rel=0.012)
    centre = [np.average(axis[part], weights=filled.sum(axis=others, dtype=float)) for axis, part, others in zip(
        axes, box, ((1, 2), (0, 2), (0, 1)), strict=True)]  # fmt: skip
    assert centre == pytest.approx(lesion.centre_mm, abs=max(spacing) / 4)


@pytest.mark.parametrize(("lesion", "label"), [(CALCIFICATION, 16), (HAEMORRHAGE, 17)])
def test_a_lesion_has_its_moment_and_its_place(plain, detailed, lesion, label):
    affine = detailed.affine
    positions = np.stack(np.meshgrid(*(np.arange(n) for n in detailed.mask.shape), indexing="ij"), axis=-1)
    away = np.linalg.norm(positions @ affine[:3, :3].T + affine[:3, 3] - lesion.centre_mm, axis=-1)
    near = away < max(lesion.half_axes_mm) + 8
    voxel = 4.0**3
    moment = voxel * (detailed.susceptibility_ppm - plain.susceptibility_ppm)[near].sum(dtype=float)
    # The tissue it replaces, and the texture around it, are a few per cent of it.
    assert moment == pytest.approx(lesion.susceptibility_ppm * lesion.volume_mm3, rel=0.05)
    found = detailed.labels == label
    assert found.sum() * voxel == pytest.approx(lesion.volume_mm3, rel=0.25)
    assert away[found].max() < max(lesion.half_axes_mm) + 4
    assert not (plain.labels == 17).any()


def test_a_lesion_takes_the_place_of_the_published_calcification(plain, detailed):
    where = plain.labels == 16
    if not where.any():  # smaller than a voxel here
        where = plain.susceptibility_ppm == plain.susceptibility_ppm.min()
    assert plain.susceptibility_ppm[where].min() < -0.2
    assert detailed.susceptibility_ppm[where].min() > -0.1


def test_texture_has_the_asked_deviation_in_tissue(plain, detailed):
    added = detailed.susceptibility_ppm - plain.susceptibility_ppm
    for label in (WHITE.label, GREY.label):
        where = ndimage.binary_erosion(plain.labels == label) & (detailed.labels == label)
        spread = np.subtract(*np.percentile(added[where], [84.13, 15.87])) / 2  # veins and lesions are outliers
        # Voxels of 4 mm keep the octaves from 64 to 16 mm, and part of the next: about 0.8 of the deviation.
        assert 0.6 < spread / 0.01 < 1.1, label
    fluid = ndimage.binary_erosion(plain.labels == CSF.label) & (detailed.labels == CSF.label)
    assert np.std(added[fluid]) < 0.4 * 0.01
    white = ndimage.binary_erosion(plain.labels == WHITE.label) & (np.abs(added) < 0.03)  # neither lesions nor veins
    for name in ("r2star_per_s", "r1_per_s"):
        change = getattr(detailed, name) - getattr(plain, name)
        sign = 1 if name == "r2star_per_s" else -1
        assert sign * np.corrcoef(added[white], change[white])[0, 1] > 0.4, name


def test_field_of_the_truth_is_the_frequency_without_microstructure_and_remnant(detailed):
    others = detailed.microstructure_field_ppm + detailed.remnant_field_ppm
    assert np.allclose(detailed.frequency_ppm - others, detailed.field_ppm, atol=1e-7)
    assert not detailed.background_field_ppm.any()
    field = dipole_field(detailed.susceptibility_ppm, detailed.voxel_size_mm, detailed.b0_direction)
    smooth = detailed.evaluation_mask & ~ndimage.binary_dilation(detailed.labels >= 16, iterations=4)
    smooth &= detailed.labels != BLOOD.label
    without, with_others = (np.std((field - f)[smooth]) for f in (detailed.field_ppm, detailed.frequency_ppm))
    assert without < 0.6 * with_others
    case = load_case_of(detailed)
    assert np.array_equal(case.problem.field_ppm, detailed.frequency_ppm)
    assert np.array_equal(case.truth.susceptibility_ppm, detailed.susceptibility_ppm)


def load_case_of(head):
    from qsm_recon.datasets.phantom_case import phantom_case

    return phantom_case(head, "true")


def test_microstructure_is_in_the_phase_and_not_in_the_truth(heads, detailed):
    other = heads(**{**DETAILED, "microstructure_ppm": 0.01})
    for name in ("susceptibility_ppm", "field_ppm", "labels", "remnant_field_ppm", "r2star_per_s"):
        assert np.array_equal(getattr(other, name), getattr(detailed, name)), name
    assert np.allclose(other.microstructure_field_ppm, -0.5 * detailed.microstructure_field_ppm, atol=1e-8)
    white = ndimage.binary_erosion(detailed.labels == WHITE.label)
    assert np.std(detailed.microstructure_field_ppm[white]) > 0.1 * 0.02
    beyond = ~ndimage.binary_dilation(detailed.labels == WHITE.label)
    assert np.std(detailed.microstructure_field_ppm[beyond]) < 0.05 * np.std(detailed.microstructure_field_ppm[white])
    turned = np.angle(detailed.echoes[..., 3] * np.conj(other.echoes[..., 3]))[white]
    expected = rad_per_ppm(7.0, 0.028) * (detailed.microstructure_field_ppm - other.microstructure_field_ppm)[white]
    assert np.polyfit(expected, turned, 1) == pytest.approx([1, 0], abs=0.05)


def test_microstructure_follows_the_direction_of_the_field(heads, detailed):
    across = heads(**DETAILED, b0_direction=(1.0, 0.0, 0.0))
    assert np.array_equal(across.susceptibility_ppm, detailed.susceptibility_ppm)
    x, _, z = (np.arange(n) * 4.0 + o for n, o in zip(detailed.mask.shape, detailed.affine[:3, 3], strict=True))
    stem = (detailed.labels == WHITE.label) & (abs(x) < 7)[:, None, None] & (z < -50)[None, None, :]
    assert stem.sum() > 20
    # Along the field A (0 - 2/3), across it A (1 - 2/3), in part by other fibres and other tissue.
    along = detailed.microstructure_field_ppm[stem].mean() / -0.02
    beside = across.microstructure_field_ppm[stem].mean() / -0.02
    assert along == pytest.approx(-2 / 3, abs=0.25)
    assert beside == pytest.approx(1 / 3, abs=0.15)


def test_remnant_has_the_asked_size_and_is_harmonic_in_the_brain(detailed):
    remnant, mask = detailed.remnant_field_ppm.astype(float), detailed.mask
    assert np.sqrt(np.mean(remnant[mask] ** 2)) == pytest.approx(0.004, rel=1e-4)
    parts = [np.roll(remnant, 1, a) + np.roll(remnant, -1, a) - 2 * remnant for a in range(3)]
    deep = ndimage.binary_erosion(mask, iterations=3)
    assert np.median(np.abs(sum(parts))[deep]) < 0.1 * np.median(np.abs(parts)[:, deep])
    # No constant and no linear part; most of it near the rim, as a removal leaves it.
    coordinates = np.argwhere(mask) - np.argwhere(mask).mean(axis=0)
    slopes = np.linalg.lstsq(np.column_stack([np.ones(len(coordinates)), coordinates]), remnant[mask], rcond=None)[0]
    assert np.abs(slopes).max() < 0.02 * 0.004
    assert np.std(remnant[mask & ~deep]) > 2 * np.std(remnant[deep])


def test_the_same_options_give_the_same_head(detailed):
    again = build_phantom(detailed.parameters, cache=False)
    for name in ("susceptibility_ppm", "labels", "echoes", "remnant_field_ppm", "microstructure_field_ppm"):
        assert np.array_equal(getattr(again, name), getattr(detailed, name)), name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_exports_record_every_option(detailed, tmp_path, layout):
    folder = export_phantom(detailed, tmp_path, layout)
    (record,) = folder.rglob("phantom.json")
    described = json.loads(record.read_text())
    stored = described["parameters"]
    assert stored["calcifications"] == [
        {"susceptibility_ppm": -2.6, "centre_mm": [30.0, -40.0, 24.0], "half_axes_mm": [6.0, 6.0, 6.0]}
    ]
    for name in ("texture_ppm", "vessel_density", "remnant_ppm", "microstructure_ppm", "detail_seed", "texture_slope"):
        assert stored[name] == getattr(detailed.parameters, name)
    if layout == "nifti":
        assert described["labels"]["17"] == "haemorrhage"
        assert {"remnant_field.nii.gz", "microstructure_field.nii.gz"} <= {f.name for f in folder.iterdir()}
        assert described["units"]["microstructure_field"] == "ppm"
