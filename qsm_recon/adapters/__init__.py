"""Thin adapters: the reconstruction command as others' frameworks call it."""
