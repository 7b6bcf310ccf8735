"""The lab's fixtures of the real suites."""

from tests.real.conftest import lab_name, lab_possible

__all__ = ["lab_name", "lab_possible"]
