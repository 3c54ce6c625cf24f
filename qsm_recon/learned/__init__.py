"""The learned inversion: the network, what it is trained on, how, and its weights.  The only place that imports torch."""
