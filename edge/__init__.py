"""Image in, packet out: the encoder, the client that streams packets, and the command `keyfpn-edge`."""

import os

# Before NumPy is imported: its BLAS serves the small integer products of entropy coding, which more threads only slow
# down. torch has threads of its own.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
