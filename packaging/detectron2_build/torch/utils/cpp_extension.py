"""A ``build_ext`` that compiles nothing: it completes the Python part of detectron2 0.6 in the build folder."""

import shutil
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext

CUDA_HOME = None
ROCM_HOME = None
CppExtension = Extension
CUDAExtension = Extension

_MISSING_C_EXTENSION = '''\
"""detectron2 was installed without its C++ extension."""


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise NotImplementedError(
        f"detectron2._C.{name}: this detectron2 was built without its C++ extension (rotated boxes, deformable "
        "convolution, fast COCO evaluation). Install the official detectron2 to use it."
    )
'''


class BuildExtension(build_ext):
    def run(self) -> None:
        package = Path(self.get_finalized_command("build_py").build_lib) / "detectron2"
        (package / "_C.py").write_text(_MISSING_C_EXTENSION)
        # The wheel loses the zoo's configs when they are a link to the source tree's.
        configs = next((p for p in (Path("configs"), Path("detectron2/model_zoo/configs")) if p.is_dir()), None)
        if configs is not None:
            shutil.copytree(configs, package / "model_zoo" / "configs", dirs_exist_ok=True)
        # Image.LINEAR went away in Pillow 10; BILINEAR is the same filter.
        transform = package / "data" / "transforms" / "transform.py"
        transform.write_text(transform.read_text().replace("Image.LINEAR", "Image.BILINEAR"))
