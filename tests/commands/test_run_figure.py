"""The picture of a run: orientation, scale, windows, and any history an engine may hand over."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qsm_recon.report.run_figure import Panel, _power_of_ten, grey_window, run_figure, save_figure

SHAPE = (20, 24, 16)
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


@pytest.fixture
def head():
    """A box with one bright voxel on each central plane, right, anterior and superior of the centre."""
    mask = np.zeros(SHAPE, bool)
    mask[2:18, 2:22, 2:14] = True
    values = np.zeros(SHAPE)
    values[14, 12, 8], values[10, 17, 8], values[10, 12, 11] = 1, 2, 3
    return mask, values


def views(figure):
    """The three images of the first row, bottom row first, with the letters around each."""
    axes = [axis for axis in figure.axes if axis.images][:3]
    images = [np.asarray(axis.images[0].get_array()) for axis in axes]
    letters = [[text.get_text() for text in axis.texts] for axis in axes]
    return axes, images, letters


def brightest(image, value):
    up, right = np.argwhere(image == value)[0] - (np.array(image.shape) // 2)
    return right, up


def test_views_show_right_anterior_and_superior_where_the_letters_say(head):
    mask, values = head
    axes, (axial, coronal, sagittal), letters = views(run_figure([Panel("χ", values, 1)], mask, AFFINE, {}, "title"))
    assert letters == [list("LRPA"), list("LRIS"), list("PAIS")]
    assert (brightest(axial, 1), brightest(axial, 2)) == ((4, 0), (0, 5))
    assert (brightest(coronal, 1), brightest(coronal, 3)) == ((4, 0), (0, 3))
    assert (brightest(sagittal, 2), brightest(sagittal, 3)) == ((5, 0), (0, 3))
    assert_allclose(axes[1].images[0].get_extent(), (0, 20, 0, 2 * 16))  # to scale: 2 mm along z
    heights = {round(axis.get_ylim()[1] - axis.get_ylim()[0], 9) for axis in axes}
    assert heights == {32.0}
    assert {axis.get_aspect() for axis in axes} == {1.0}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("flip", [(), (0,), (1, 2)])
def test_storage_order_does_not_change_the_picture(head, order, flip):
    mask, values = head

    def stored(image):
        return np.flip(image.transpose(order), flip)

    affine = AFFINE[:, [*order, 3]].copy()
    for axis in flip:
        affine[:, 3] += affine[:, axis] * (SHAPE[order[axis]] - 1)
        affine[:, axis] *= -1
    _, expected, _ = views(run_figure([Panel("χ", values, 1)], mask, AFFINE, {}, ""))
    _, found, _ = views(run_figure([Panel("χ", stored(values), 1)], stored(mask), affine, {}, ""))
    for image, other in zip(expected, found, strict=True):
        assert_array_equal(image, other)


def test_values_outside_the_mask_are_grey(head):
    mask, values = head
    _, images, _ = views(run_figure([Panel("field", values + 7, 1, centre=0.5)], mask, AFFINE, {}, ""))
    assert images[0][0, 0] == 0.5
    assert images[0].max() == 9


@pytest.mark.parametrize(
    "history",
    [
        {},
        {"objective": [3.0, 2.0, 1.5], "update": [1.0, 0.1, 0.0]},
        {"objective": [1e-3], "primal_residual": [1.0]},
        {"objective": [1.0, np.nan, np.inf], "dual_residual_field": [0.0, 0.0, 0.0]},
        {"gradient_norm": [1.0, 0.1], "inner_iterations": [10, 12]},
        {"objective": [5.0, 4.0], "linear_residual": [0.1, 0.2, 0.01, 0.02]},
        {"something_else": [1.0, 2.0]},
    ],
)
def test_any_history_can_be_drawn(head, tmp_path, history):
    mask, values = head
    path = save_figure(run_figure([Panel("χ", values, 1)], mask, AFFINE, history, "title"), tmp_path / "figure.png")
    assert path.stat().st_size > 10_000


def test_titles_name_the_slices_of_the_file(head):
    mask, values = head
    stored = AFFINE.copy()
    stored[0, 0] = -1  # from right to left, as many scanners write
    for affine, i in ((AFFINE, 10), (stored, 20 - 1 - 10)):
        axes, images, _ = views(run_figure([Panel("χ", values, 1)], mask, affine, {}, ""))
        assert [axis.get_title() for axis in axes] == ["axial, k = 8", "coronal, j = 12", f"sagittal, i = {i}"]
        in_mask = np.where(mask, values, 0)
        turned = in_mask[i].T  # the margin of three voxels is cut off where the image ends
        assert_array_equal(images[2], turned)


def test_letters_stand_out_from_bright_tissue(head):
    mask, values = head
    axes, _, _ = views(run_figure([Panel("χ", values, 1)], mask, AFFINE, {}, ""))
    for text in (text for axis in axes for text in axis.texts):
        (rim,) = text.get_path_effects()
        assert rim._gc == {"linewidth": 2.2, "foreground": "black"}
        assert text.get_color() == "white"


def test_the_border_of_the_mask_is_drawn_between_voxels(head):
    mask, values = head
    figure = run_figure([Panel("χ", values, 1), Panel("error", values, 1)], mask, AFFINE, {}, "")
    axial = [axis for axis in figure.axes if axis.get_title().startswith("axial")]
    assert len(axial) == 2
    for axis in axial:
        corners = np.vstack([path.vertices for line in axis.collections for path in line.get_paths()])
        # The views begin at the image's border, 2 voxels before the mask; a contour cuts the corners by half a voxel.
        assert_allclose((corners.min(axis=0), corners.max(axis=0)), ((2, 2), (18, 22)))
        assert_allclose(axis.get_xlim(), (0, 20))


def test_two_panels_stand_abreast(head):
    mask, values = head
    names = ("magnitude", "field", "susceptibility")
    figure = run_figure([Panel(name, values, 1) for name in names], mask, AFFINE, {"objective": [2.0, 1.0]}, "")
    figure.draw_without_rendering()
    first, second, third = (
        next(axis for axis in figure.axes if axis.get_ylabel() == name).get_position() for name in names
    )
    assert first.x1 < second.x0
    assert first.y0 == pytest.approx(second.y0, abs=0.01)
    assert third.y1 < first.y0
    assert third.x0 == pytest.approx(first.x0, abs=0.01)


def test_no_legend_lies_over_a_curve(head):
    mask, values = head
    history = {name: [1.0, 0.5, 0.1] for name in ("objective", "fidelity", "primal_residual_field", "update")}
    figure = run_figure([Panel("χ", values, 1)], mask, AFFINE, history, "")
    figure.draw_without_rendering()
    legends = [(axis.get_legend(), axis) for axis in figure.axes if axis.get_legend() is not None]
    assert len(legends) == 2
    for legend, axis in legends:
        assert legend.get_window_extent().y0 >= axis.get_window_extent().y1 - 1


def test_convergence_curves_are_the_history(head):
    mask, values = head
    history = {"objective": [3.0, 2.0, 1.0], "fidelity": [2.0, 1.0, 0.5], "primal_residual_field": [1.0, 0.1, 0.01]}
    figure = run_figure([Panel("χ", values, 1)], mask, AFFINE, history, "")
    curves = {line.get_label(): line for axis in figure.axes for line in axis.get_lines()}
    for name, numbers in history.items():
        assert_array_equal(curves[name.replace("_", " ")].get_ydata(), numbers)
        assert_array_equal(curves[name.replace("_", " ")].get_xdata(), (1, 2, 3))


def test_residuals_that_are_neither_primal_nor_dual_have_a_colour_of_their_own(head):
    mask, values = head
    names = ("primal_residual_field", "dual_residual_field", "cg_residual", "update")
    figure = run_figure([Panel("χ", values, 1)], mask, AFFINE, {name: [1.0, 0.5] for name in names}, "")
    lines = [line for axis in figure.axes for line in axis.get_lines()]
    assert len({line.get_color() for line in lines}) == len(lines) == 4


@pytest.mark.parametrize(
    ("spread", "window"), [(0.05, 0.1), (0.03, 0.1), (0.0, 0.1), (1.0, 2.0), (3.0, 5.0), (1e-3, 2e-3), (0.3, 0.5)]
)
def test_grey_window_is_the_usual_one_or_fits(spread, window):
    values = spread * np.linspace(-1.2, 1.2, 1001)
    assert grey_window(values) == pytest.approx(window)


def test_ticks_at_powers_of_ten_are_words_and_no_formulas():
    assert [_power_of_ten(value) for value in (1e-12, 0.1, 1.0, 1e3)] == ["10⁻¹²", "10⁻¹", "10⁰", "10³"]
    assert _power_of_ten(0.0) == ""
    history = {"objective": [1e3, 1.0], "update_norm": [1.0, 1e-3], "primal_residual_field": [1.0, 0.5]}
    figure = run_figure([Panel("χ", np.zeros((8, 8, 8)), 0.1)], np.ones((8, 8, 8), bool), np.eye(4), history, "title")
    for axis in (found for found in figure.axes if found.get_yscale() == "log"):
        assert not any("$" in text.get_text() for text in axis.get_yticklabels())
