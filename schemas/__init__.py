"""What flows through calstream: products and their FITS files, events, recipes, associations, data quality bits."""
