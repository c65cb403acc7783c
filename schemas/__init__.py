"""What flows through calstream: products and their FITS files, events, recipes, associations, DQ bits."""
