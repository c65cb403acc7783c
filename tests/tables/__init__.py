"""Tables of how good the science is, on simulated truth and beside the peer: ``make tables``."""
