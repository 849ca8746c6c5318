import subprocess
import sys

_PROGRAM = """
import sys
import keyfpn.detector.torch.server_half, keyfpn.detector.torch.network
assert "torchvision.ops.roi_align" in sys.modules
{before}
from torchvision.ops.roi_align import is_compile_supported
assert is_compile_supported("cpu") in (True, False)
import torch
assert torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1)).item() == 2
"""


def run(program: str) -> None:
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert outcome.returncode == 0, outcome.stderr


def test_the_detector_does_not_import_the_compiler_and_who_needs_it_still_has_it() -> None:
    before = "assert not [name for name in sys.modules if name.startswith('torch._dynamo')]"
    run(_PROGRAM.format(before=before))


def test_a_compiler_that_is_there_already_is_used() -> None:
    run("import torch._dynamo.utils" + _PROGRAM.format(before=""))
