"""What can stop a benchmark, apart from the detector's and the protocol's own errors."""

from keyfpn.protocol.errors import Error


class BenchmarkError(Error):
    """A benchmark cannot run: no room for its cache, a cache of other pictures, options that do not go together."""


class WorkerError(BenchmarkError):
    """A worker process failed or was killed. What was measured before is kept."""
