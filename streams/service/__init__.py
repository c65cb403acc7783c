"""A service: a parent that talks to the bus, and children that compute.

``loop`` takes events and publishes what follows from them, ``window`` keeps the order, ``slot`` owns a child
process, ``child`` is what runs there, ``attempts`` counts what failed.
"""
