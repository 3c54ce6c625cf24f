"""The RC2 suite of quantitative susceptibility mapping, in Python."""
