"""Stage 3 for images: mosaics and catalogues."""
