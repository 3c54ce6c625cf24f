"""The reconstruction methods: short recipes on shared operators, terms and engines."""
