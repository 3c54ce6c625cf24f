"""The learned inversion: the network, what it is trained on, how, and its weights.  It alone imports torch."""
