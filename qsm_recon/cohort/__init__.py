"""A cohort: every multi-echo acquisition of a BIDS data set reconstructed, as a BIDS App; see ``docs/cohort.md``."""
