"""1/f noise in images: what is background, how high it is, and the stripes that the electronics lay over it.

Arrays and settings in, arrays out; the steps that clean groups and rates are made of this.
"""
