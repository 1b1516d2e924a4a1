"""How good it is: recall, nDCG, side-by-side reports."""
