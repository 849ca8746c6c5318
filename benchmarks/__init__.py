"""What the project costs and is worth: rate against AP, beside sending the picture."""

import os

# As on edge and server, whose entropy coding is timed here: NumPy's BLAS on one thread, torch's on all.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
