"""The detectron2 network: built from a model's files, cut in two halves, published."""

import warnings

from . import lean

# detectron2 0.6 is older than the torch and setuptools it runs on, and both say so.
warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
warnings.filterwarnings("ignore", message="torch.meshgrid")

lean.install()
