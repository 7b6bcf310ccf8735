"""`pinfold advise`: size the overhead pool and its rates by what `pinfold watch` measured. The watch and the hypervisor need not run."""

from __future__ import annotations

from typing import Annotated

import typer

from pinfold.cli import options as opt
from pinfold.cli.output import show, show_json
from pinfold.cli.session import read_configuration


def advise(
    delay_us: Annotated[
        float, typer.Option("--delay-us", metavar="N", min=1.0, help="The target: the mean wait of overhead threads, in microseconds.")
    ] = 1000.0,
    config: opt.Config = None,
    connect: opt.Connect = None,
    as_json: opt.Json = False,
) -> None:
    """Say how many pCPUs the overhead pool needs and which rates guests should book by, from the journal of `pinfold watch`.

    The target is the mean time that an overhead thread of a guest on the pool is ready and waits, before it runs. Less than 24 measured
    hours are too little evidence, and then there is no advice.
    """
    from pinfold.cli.views.advice import advice_view
    from pinfold.core.encoding import plain
    from pinfold.core.overhead.advice import advise as advice_of
    from pinfold.watch.journal import journal_path, read_hours

    settings = read_configuration(config, connect, only_looks=True, quiet=as_json, audits=True).settings
    found = advice_of(read_hours(journal_path(settings)), delay_us, settings.limits.rates)
    if as_json:
        show_json(plain(found))
    else:
        show(advice_view(found))
