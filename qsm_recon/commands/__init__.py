"""The command lines: options and flow of each; ``qsm_recon/run.py`` and the like are their doors."""
