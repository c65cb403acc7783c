"""For all tests: kernels are compiled once for a state of the sources, also for other processes."""

from streams.kernel_cache import use_kernel_cache

use_kernel_cache()
