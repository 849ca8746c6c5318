"""What a detector is: its files and fingerprint, its classes, its pyramid and its input. The network is in `torch/`."""

BUNDLED = "mobilenetv2_fpn128_coco80"
"""The name of the model that comes with keyfpn."""
