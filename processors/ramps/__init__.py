"""Kernels of ramp fitting and jump detection: arrays in, arrays out.

`covariance` holds what the others share: the read pattern and the noise of the pixels. `gls` fits slopes by
generalised least squares, `jumps` finds cosmic rays by likelihood, `ols` and `twopoint` are the classical
counterparts, `combine` joins the integrations of an exposure, `goodness` judges chi-squared, `diagnostics`
says what fits worst, and `chargeloss` states read noise behind charge migration.
"""
