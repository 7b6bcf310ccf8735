"""Rules of the source that neither ruff nor mypy has: values are made by their constructors, enums are compared as enums, and the API
leaves it to the service to write.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
BACK_DOORS = {"__new__", "__setattr__", "__delattr__", "__set__", "__dict__", "__setstate__", "force_setattr"}


def back_doors(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where an attribute is used that makes or changes a value without its constructor."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in BACK_DOORS:
            yield node.lineno, ast.unparse(node)


def texts_of_enums(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where the `value` of something is compared with a text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            left, right = node.left, node.comparators[0]
            several = right.elts if isinstance(right, ast.Tuple | ast.Set | ast.List) else [right]
            pairs = [(left, one) for one in several] + ([(right, left)] if isinstance(node.ops[0], ast.Eq | ast.NotEq) else [])
            if any(_is_value(one) and isinstance(other, ast.Constant) and isinstance(other.value, str) for one, other in pairs):
                yield node.lineno, ast.unparse(node)


def _is_value(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "value"


@pytest.mark.parametrize("rule", [back_doors, texts_of_enums])
def test_the_source_keeps(rule: object) -> None:
    found = [
        f"{path.relative_to(SOURCE)}:{line}: {text}"
        for path in sorted(SOURCE.rglob("*.py"))
        for line, text in rule(ast.parse(path.read_text(encoding="utf-8")))  # type: ignore[operator]
    ]
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "new = object.__new__(Fit)",
        "object.__setattr__(fit, 'vcpus', 1)",
        "fit.__dict__['vcpus'] = 1",
        "put = CpuSet.mask.__set__",
        "msgspec.structs.force_setattr(fit, 'vcpus', 1)",
    ],
)
def test_a_back_door_is_found(text: str) -> None:
    assert list(back_doors(ast.parse(text)))


def test_a_comparison_with_an_enums_text_is_found() -> None:
    assert list(texts_of_enums(ast.parse("over = booking.value == 'enforce'")))
    assert list(texts_of_enums(ast.parse("over = booking.value in ('enforce', 'report')")))
    assert not list(texts_of_enums(ast.parse("over = booking is Booking.ENFORCE")))


def test_only_the_service_opens_transactions_that_write() -> None:
    writers = {str(path.relative_to(SOURCE / "pinfold")) for path in SOURCE.rglob("*.py") if "database.write()" in path.read_text()}
    assert writers
    assert not [path for path in writers if not path.startswith(("service/", "store/"))]
