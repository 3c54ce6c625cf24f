"""The parts a reconstruction is composed of: data fidelities, regularisers, weights."""
