"""`AllowedContract`: a contract of import-linter that names the packages which some modules may import, and so forbids all others."""

from __future__ import annotations

import sys

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class AllowedContract(Contract):
    """The modules below `source` import each other, the standard library and the packages in `allowed`."""

    source = fields.StringField()
    allowed = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Collect each import that is not allowed, with its lines."""
        inside = {self.source, *graph.find_descendants(self.source)}
        wrong = [
            (importer, imported, tuple(detail["line_number"] for detail in graph.get_import_details(importer=importer, imported=imported)))
            for importer in sorted(inside)
            for imported in sorted(graph.find_modules_directly_imported_by(importer) - inside)
            if imported.partition(".")[0] not in {*sys.stdlib_module_names, *self.allowed}
        ]
        return ContractCheck(kept=not wrong, metadata={"wrong": wrong})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each import."""
        for importer, imported, lines in check.metadata["wrong"]:
            output.print_error(f"{importer} imports {imported} in line {', '.join(map(str, lines))}", bold=False)
