"""The picture of the phantom."""

import numpy as np

from qsm_recon.report.phantom_figure import phantom_figure


def test_every_view_names_its_sides_and_shows_its_plane(phantom):
    axes = phantom_figure(phantom).axes
    letters = [[text.get_text() for text in axis.texts] for axis in axes]  # titles stand above, and hide none of them
    assert letters == [["L", "R", "P", "A"], ["L", "R", "I", "S"], ["P", "A", "I", "S"]] * (len(axes) // 3)
    assert axes[0].get_title("left") == "susceptibility, −0.1 … 0.1 ppm"
    nx, ny, nz = phantom.mask.shape
    assert [np.shape(axis.images[0].get_array()) for axis in axes[:3]] == [(ny, nx), (nz, nx), (nz, ny)]
