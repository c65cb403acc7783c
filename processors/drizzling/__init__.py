"""Resampling by drizzle: pixel maps, output grids, accumulation, noise correlation."""
