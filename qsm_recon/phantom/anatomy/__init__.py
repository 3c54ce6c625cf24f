"""The anatomy of the phantom: every structure as a signed distance (mm), one idea per file."""
