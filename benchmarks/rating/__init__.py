"""Visual rating of susceptibility maps, blinded and in random order, after the 2019 reconstruction challenge."""
