"""Figures and documents that tell what a run did.  The only place that imports matplotlib."""
