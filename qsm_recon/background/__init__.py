"""Removal of the field of sources outside the mask, and telling whether a field holds any."""
