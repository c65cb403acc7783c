"""Reference files that describe the simulated detectors and cameras, in CRDS's formats."""
