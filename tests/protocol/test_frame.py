import numpy as np

from keyfpn.protocol.frame import Frame


def test_size_is_height_and_width() -> None:
    assert Frame("street", 7, np.zeros((30, 40, 3), np.uint8)).size == (30, 40)
