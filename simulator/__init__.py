"""A small observatory: Level-1b exposures with known truth, and CRDS reference files to calibrate them."""
