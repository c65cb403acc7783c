"""The science: pure functions from product to product.

No Kafka, no files, no clock, no environment. A step is one file with one public function, its options and its
kernels; a pipeline is an ordered list of steps.
"""
