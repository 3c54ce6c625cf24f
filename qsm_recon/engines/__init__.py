"""The algorithms that minimise a composition of terms."""
