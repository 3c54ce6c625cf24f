"""From arrays to a susceptibility map and its scores: two sources in a ball, scanned at 3 T."""

import numpy as np

from qsm_recon import DipoleOperator, Grid, Problem, make_solver


def main() -> None:
    """Simulate, reconstruct by three methods, and print how far each is from the truth."""
    grid = Grid((48, 48, 40), voxel_size_mm=(1.0, 1.0, 1.2), b0_direction=(0.0, 0.1, 0.995))
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in grid.shape])
    mask = x**2 + y**2 + z**2 < 0.8
    truth = np.zeros(grid.shape, np.float32)
    truth[14:20, 20:28, 15:24], truth[28:33, 18:26, 14:22] = 0.15, -0.08
    noise = np.random.default_rng(0).normal(0, 0.002, grid.shape)
    field = np.where(mask, DipoleOperator(grid, padding=16).forward(truth) + noise, 0).astype(np.float32)
    problem = Problem(field, mask, grid, b0_tesla=3.0, echo_times_s=(0.02,), field_kind="local")
    for name in ("tkd", "tv", "fansi"):
        result = make_solver(name).solve(problem)
        difference = (result.susceptibility_ppm - truth)[mask]
        error = np.linalg.norm(difference - difference.mean()) / np.linalg.norm(truth[mask] - truth[mask].mean())
        print(f"{name:6s} error {100 * error:5.1f} %  {result}")


if __name__ == "__main__":
    main()
