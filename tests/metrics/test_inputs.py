"""What may be given to the metrics, and what they make of what is hidden, of another shape, or no map."""

import numpy as np
import pytest

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.metrics import (
    calcification_moment,
    calcification_moment_deviation,
    calcification_streaking,
    cc,
    dnrmse,
    evaluate,
    gxe,
    hfen,
    linear_slope_deviation,
    mad,
    mi,
    nrmse,
    ssim,
    xsim,
)

VOXELWISE = (nrmse, dnrmse, ssim, xsim, hfen, cc, mi, mad, gxe)
OF_LABELS = (linear_slope_deviation, calcification_streaking, calcification_moment_deviation)
every_voxelwise = pytest.mark.parametrize("metric", VOXELWISE)
every_metric_of_labels = pytest.mark.parametrize("metric", OF_LABELS)


def hidden(image, where, value=999.0):
    """An image whose voxels there are hidden, and hold a number that shows in any score."""
    return np.ma.array(np.where(where, value, image), mask=where)


@pytest.fixture
def rim(head):
    """Some voxels of the mask, all of a plane."""
    where = np.zeros(head.mask.shape, bool)
    where[head.mask.shape[0] // 2] = True
    return where & head.mask


@every_voxelwise
def test_images_of_other_shapes_are_refused(metric, head):
    """SSIM, XSIM, HFEN and GXE gave a number where the box around the mask lay in both images."""
    for images in (
        (head.reconstruction[:-1], head.truth, head.mask),
        (head.reconstruction, head.truth[:-1], head.mask),
        (head.reconstruction, head.truth, head.mask[:-1]),
        (head.reconstruction[:1], head.truth, head.mask),
    ):
        with pytest.raises(DataError, match=r"shape .* does not fit the truth's"):
            metric(*images)


@pytest.mark.parametrize("metric", [metric for metric in VOXELWISE if metric not in (nrmse, dnrmse)])
def test_images_of_other_shapes_are_refused_without_a_mask(metric, head):
    with pytest.raises(DataError, match=r"shape .* does not fit the truth's"):
        metric(head.reconstruction[:1], head.truth)


@pytest.mark.filterwarnings("error")
@every_voxelwise
def test_what_is_no_map_or_mask_is_refused(metric, head):
    """Imaginary parts were dropped; NaN and every number but 0 counted as inside."""
    with pytest.raises(DataError, match="susceptibility: expected real numbers"):
        metric(head.reconstruction * (1 + 1j), head.truth, head.mask)
    with pytest.raises(DataError, match="mask: the mask holds NaN"):
        metric(head.reconstruction, head.truth, np.where(head.mask, 1.0, np.nan))
    with pytest.raises(DataError, match="mask: expected a binary mask"):
        metric(head.reconstruction, head.truth, head.mask + 0.5 * (head.labels == 8))
    for mask in (head.mask.astype(object), head.mask.astype(complex), head.mask.astype(str)):
        with pytest.raises(DataError, match="mask: expected a mask of 0 and 1"):
            metric(head.reconstruction, head.truth, mask)


@every_voxelwise
def test_masks_of_numbers_and_lists_are_those_of_booleans(metric, head):
    expected = metric(head.reconstruction, head.truth, head.mask)
    assert metric(head.reconstruction, head.truth, 255 * head.mask.astype(np.uint8)) == expected
    assert metric(head.reconstruction.tolist(), head.truth.tolist(), head.mask.tolist()) == expected


@every_voxelwise
def test_voxels_that_are_hidden_do_not_count(metric, head, rim):
    """What lay beneath was scored: an NRMSE of 821,525 %."""
    expected = metric(head.reconstruction, head.truth, head.mask & ~rim)
    found = metric(head.reconstruction, head.truth, np.ma.array(head.mask, mask=rim))
    assert found == expected
    if metric is mi:
        with pytest.raises(DataError, match="not finite"):
            metric(hidden(head.reconstruction, rim), head.truth, head.mask)
    else:
        assert np.isnan(metric(hidden(head.reconstruction, rim), head.truth, head.mask))


def test_evaluate_takes_hidden_voxels_for_unknown_ones(head, rim):
    expected = evaluate(np.where(rim, np.nan, head.reconstruction), head.truth, head.mask, head.labels)
    found = evaluate(hidden(head.reconstruction, rim), head.truth, head.mask, head.labels)
    assert found.values == expected.values
    without = evaluate(head.reconstruction, head.truth, head.mask, np.where(rim, 0, head.labels))
    labels = np.ma.array(head.labels, mask=rim)
    assert evaluate(head.reconstruction, head.truth, head.mask, labels).values == without.values
    with pytest.raises(DataError, match="truth: values in the mask are not finite"):
        evaluate(head.reconstruction, hidden(head.truth, rim), head.mask)


@pytest.mark.filterwarnings("error")
def test_evaluate_refuses_what_is_no_image(head):
    good = head.reconstruction, head.truth, head.mask
    with pytest.raises(DataError, match="truth: expected real numbers"):
        evaluate(head.reconstruction, head.truth * (1 + 1j), head.mask)
    with pytest.raises(DataError, match="mask: expected a mask, found None"):
        evaluate(head.reconstruction, head.truth, None)
    for labels in (head.labels.astype(object), head.labels.astype(complex), head.labels.astype(str)):
        with pytest.raises(DataError, match="labels: expected whole numbers"):
            evaluate(*good, labels)
    with pytest.raises(DataError, match="calcification_moment: expected a sum"):
        evaluate(*good, head.labels, calcification_moment=np.nan)
    with pytest.raises(ParameterError, match="variant: unknown definition 'None'"):
        evaluate(*good, head.labels, variant=None)


@every_metric_of_labels
def test_labels_are_checked_wherever_they_are_given(metric, head):
    """Lists held no label, and an unknown variant was taken for ``community``."""
    expected = metric(head.reconstruction, head.truth, head.labels)
    images = head.reconstruction.tolist(), head.truth.tolist(), head.labels.tolist()
    assert metric(*images) == expected
    assert metric(head.reconstruction, head.truth, head.labels + 1e-4) == expected
    with pytest.raises(ParameterError, match="variant: unknown definition 'rc3'; did you mean 'rc2'"):
        metric(head.reconstruction, head.truth, head.labels, variant="rc3")
    with pytest.raises(DataError, match=r"labels: shape .* does not fit"):
        metric(head.reconstruction, head.truth, head.labels[1:])
    with pytest.raises(DataError, match=r"susceptibility: shape .* does not fit"):
        metric(head.reconstruction[1:], head.truth, head.labels)
    with pytest.raises(DataError, match="labels: expected whole numbers"):
        metric(head.reconstruction, head.truth, head.labels + 0.4)


def test_the_moment_takes_lists_as_well(head):
    expected = calcification_moment(head.truth, head.labels)
    assert calcification_moment(head.truth.tolist(), head.labels.tolist()) == expected
    with pytest.raises(ParameterError, match="variant"):
        calcification_moment(head.truth, head.labels, variant="rc3")
