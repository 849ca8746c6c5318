"""What detectron2's ``setup.py`` asks of torch, and nothing else."""

__version__ = "2.0.0"


class version:  # noqa: N801
    hip = None


class cuda:  # noqa: N801
    @staticmethod
    def is_available() -> bool:
        return False
