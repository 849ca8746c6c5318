import subprocess
import sys
from collections.abc import Iterator

import pytest

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
_PROGRAMS = {
    "the compiler is not there": _PROGRAM.format(
        before="assert not [name for name in sys.modules if name.startswith('torch._dynamo')]"
    ),
    "the compiler is there": "import torch._dynamo.utils" + _PROGRAM.format(before=""),
}


@pytest.fixture(scope="module")
def processes() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """All programs at once: most of their time goes into the import of torch's compiler."""
    started = {
        name: subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
        for name, program in _PROGRAMS.items()
    }
    yield started
    for process in started.values():
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", _PROGRAMS)
def test_the_detector_does_not_import_the_compiler_and_who_needs_it_still_has_it(
    processes: dict[str, subprocess.Popen[str]], name: str
) -> None:
    _, errors = processes[name].communicate(timeout=200)
    assert processes[name].returncode == 0, errors
