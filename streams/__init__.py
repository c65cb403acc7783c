"""The machinery: bus, store, stages, references, associator, and the commands that drive them."""
