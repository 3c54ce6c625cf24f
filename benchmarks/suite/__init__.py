"""The benchmark suite: one runner, one schema of results, one printer of tables."""
