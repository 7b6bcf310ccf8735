"""The contract that names what may be imported, on graphs of a few modules."""

from __future__ import annotations

import pytest
from grimp import ImportGraph
from tests.import_contracts import AllowedContract


@pytest.mark.parametrize(
    ("imported", "kept"),
    [("app.core.other", True), ("dataclasses", True), ("msgspec", True), ("app.host", False), ("numpy", False)],
)
def test_the_contract_allows_itself_the_standard_library_and_what_it_names(imported: str, kept: bool) -> None:
    graph = ImportGraph()
    for module in ("app", "app.core", "app.core.one", "app.core.other", "app.host"):
        graph.add_module(module)
    if imported.partition(".")[0] != "app":
        graph.add_module(imported, is_squashed=True)
    graph.add_import(importer="app.core.one", imported=imported, line_number=3, line_contents=f"import {imported}")
    options = {"source": "app.core", "allowed": ["msgspec"]}
    contract = AllowedContract("core", session_options={"root_packages": ["app"]}, contract_options=options)
    checked = contract.check(graph, verbose=False)
    assert checked.kept is kept
    assert checked.metadata["wrong"] == ([] if kept else [("app.core.one", imported, (3,))])
