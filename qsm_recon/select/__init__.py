"""Choosing a regularisation parameter without the truth: sweeps along it, rules that pick, sessions that keep both."""
