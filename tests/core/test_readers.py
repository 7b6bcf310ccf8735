"""What reads JSON into Structs is made while modules are imported: two threads that first read one Struct at a time end the process."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src/pinfold"
DIRECT = {"msgspec.json.decode", "msgspec.json.Decoder", "msgspec.msgpack.decode", "msgspec.convert"}
MAKERS = {"decoder", "json_reader", "reader"}


def _sources(words: set[str]) -> Iterator[tuple[Path, ast.Module]]:
    """Every other module that has one of these words, parsed. A call whose name is not in the text need not be looked for."""
    for path in SOURCE.rglob("*.py"):
        text = path.read_text()
        if path != SOURCE / "core/encoding.py" and any(word in text for word in words):
            yield path, ast.parse(text)


def _calls(tree: ast.AST) -> set[str]:
    return {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}


def test_only_readers_decodes() -> None:
    found = {str(path.relative_to(SOURCE)): direct for path, tree in _sources({"msgspec"}) if (direct := _calls(tree) & DIRECT)}
    assert not found, "use pinfold.core.encoding"


def test_readers_are_made_at_module_level() -> None:
    late = [
        f"{path.relative_to(SOURCE)}: {node.name}"
        for path, tree in _sources(MAKERS)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and _calls(node) & MAKERS
    ]
    assert late == []


def test_threads_that_first_read_one_type_at_a_time_all_read_it() -> None:
    """In a process of its own, since the fault that this guards against ends the process."""
    script = """
import sys, threading
import msgspec
from pinfold.core.encoding import decoder, json_reader, reader
sys.setswitchinterval(1e-6)
for number in range(40):
    inner = msgspec.defstruct("Inner", [(f"field{n}", int | None, None) for n in range(40)])
    outer = msgspec.defstruct("Outer", [("inner", inner | None, None)] + [(f"field{n}", inner | None, None) for n in range(40)])
    readers = json_reader(outer), reader(outer), decoder(outer)
    barrier = threading.Barrier(4)
    def read():
        barrier.wait()
        assert readers[0](b'{"field39": {"field39": 1}}').field39.field39 == 1
        assert readers[1]({"field39": {"field39": 1}}, "it").field39.field39 == 1
        assert readers[2]('{"v": 1, "value": {"field39": {"field39": 1}}}', "it").field39.field39 == 1
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
