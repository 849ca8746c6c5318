"""The detectron2 model: its files, its two halves, what goes in and what comes out."""

import warnings

from . import lean

BUNDLED = "mobilenetv2_fpn128_coco80"
"""The name of the model that comes with keyfpn."""

# detectron2 0.6 is older than the torch and setuptools it runs on, and both say so.
warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
warnings.filterwarnings("ignore", message="torch.meshgrid")

lean.install()
