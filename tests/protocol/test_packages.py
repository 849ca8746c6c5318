import pytest

from keyfpn.protocol.packages import MissingPackageError, packages_of_extras


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("torch", r"pip install 'keyfpn\[torch\]'"),
        ("torchvision.ops", r"pip install 'keyfpn\[torch\]'"),
        ("av", r"pip install 'keyfpn\[video\]'"),
        ("pycocotools.coco", r"pip install 'keyfpn\[torch\]'"),
        ("matplotlib.pyplot", r"pip install 'keyfpn\[train\]'"),
        ("bjontegaard", r"pip install 'keyfpn\[bench\]'"),
        ("detectron2", "Install detectron2 from"),
    ],
)
def test_a_missing_package_is_one_line_that_says_what_to_install(module: str, advice: str) -> None:
    with (
        pytest.raises(MissingPackageError, match=rf"^package {module.partition('.')[0]}: .* {advice}"),
        packages_of_extras(),
    ):
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def test_a_module_of_nobodys_extra_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), packages_of_extras():
        import no_such_module  # noqa: F401


def test_nothing_happens_where_all_is_there() -> None:
    with packages_of_extras():
        import numpy  # noqa: F401
