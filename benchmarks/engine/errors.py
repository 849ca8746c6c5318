"""What can stop a benchmark, apart from the detector's and the protocol's own errors."""


class BenchmarkError(ValueError):
    """A benchmark cannot run or go on: no room for its cache, a cache of other data, a worker that failed."""
