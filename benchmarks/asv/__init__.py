"""Benchmarks for airspeed velocity: ``asv run``; what is measured is small, and is compared from commit to commit."""
