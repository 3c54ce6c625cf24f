"""Other programs for dipole inversion on this machine, run on the same files and scored by the same scorer."""
