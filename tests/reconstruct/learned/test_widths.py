import torch

from keyfpn.reconstruct.learned.widths import take_common


def test_kernels_of_another_size_have_nothing_in_common() -> None:
    own = torch.zeros(4, 4, 3, 3)
    assert not take_common(own, torch.ones(4, 4, 1, 1))
    assert not take_common(own, torch.ones(4, 4))
    assert not own.any()
    assert take_common(own, torch.ones(5, 4, 3, 3, dtype=torch.float16))
    assert own.all()
