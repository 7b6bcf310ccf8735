"""The written forms of fits, refusals, and the answer to where a guest would go. A fit's form adds the sentences of its warnings."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from pinfold.core.fit.answer import Fit, NoFit
from pinfold.core.reasons import Kind, Reason, written_reasons


class HostFit(Struct, frozen=True, kw_only=True):
    """A host that takes a guest, and the fit. `revision` is the host's at the decision; without a service it has none."""

    host: str
    revision: int | None
    fit: Fit


class Refusal(Struct, frozen=True, kw_only=True):
    """Why a host does not take a guest. `revision` is the host's at the decision; without a service it has none.

    A host on which the start failed has a `sentence` alone, and so has a refusal that was stored before refusals had reasons.
    """

    host: str
    revision: int | None = None
    kind: Kind | None = None
    reasons: tuple[Reason, ...] = ()
    sentence: str = ""


class FitAnswer(Struct, frozen=True, kw_only=True):
    """The hosts that would take a guest, best first; why others would not; the extra specs without effect; and warnings about the host."""

    candidates: tuple[HostFit, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    not_acted_upon: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def written(fit: Fit) -> Fit:
    """The fit as it is written."""
    return replace(fit, warnings=written_reasons(fit.warnings)) if fit.warnings else fit


def host_fit(fit: Fit, host: str, revision: int | None = None) -> HostFit:
    """The form of a host's fit."""
    return HostFit(host=host, revision=revision, fit=written(fit))


def refusal(no_fit: NoFit, host: str, revision: int | None = None) -> Refusal:
    """A host's refusal."""
    return Refusal(host=host, revision=revision, kind=no_fit.kind, reasons=no_fit.reasons)


def written_refusal(known: Refusal) -> Refusal:
    """The refusal as it is written: the sentences are made of its reasons, if it has some."""
    if not known.reasons:
        return known
    return replace(known, reasons=written_reasons(known.reasons), sentence=NoFit(reasons=known.reasons).sentence())


def answer_of(found: Fit | NoFit, host: str, *, not_acted_upon: tuple[str, ...], warnings: tuple[str, ...] = ()) -> FitAnswer:
    """The answer where there is one host."""
    return FitAnswer(
        candidates=(host_fit(found, host),) if isinstance(found, Fit) else (),
        refusals=(written_refusal(refusal(found, host)),) if isinstance(found, NoFit) else (),
        not_acted_upon=not_acted_upon,
        warnings=warnings,
    )
