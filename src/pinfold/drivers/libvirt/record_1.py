"""Read the record of version 1, which has an attribute or element for each field. `metadata` reads later versions.

Pinfold wrote it until November 2026. The domains that it started have it until their place changes.
"""

from __future__ import annotations

from typing import Final
from xml.etree.ElementTree import Element

from msgspec.structs import replace

from pinfold.core.bounds import MAX_GUEST_CELLS
from pinfold.core.encoding import decoder, reader
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.model import GuestRequest
from pinfold.drivers.libvirt import xmltext
from pinfold.drivers.port import Record

NAMESPACE: Final = "urn:pinfold:guest:1"
TAG: Final = f"{{{NAMESPACE}}}guest"
RECORD: Final = "pinfold's record in the domain's metadata"

_MAX_WARNINGS: Final = 64

_read_record = reader(Record, strict=False)
_read_request = decoder(GuestRequest)


def read(guest: Element) -> Record:
    """The record of an element of version 1. Raises `InvalidRequest` when a value is missing or out of bounds."""
    if (version := xmltext.integer(guest, "version", RECORD)) != 1:
        raise InvalidRequest(f"{RECORD} is of version {version}, this pinfold reads version 1 there", key=RECORD)
    fit, asked = guest.find(_tag("fit")), guest.find(_tag("request"))
    if fit is None:
        raise InvalidRequest(f"{RECORD} has no <fit>", key=RECORD)
    cells = xmltext.children(fit, _tag("cell"), MAX_GUEST_CELLS, RECORD)
    warnings = xmltext.children(fit, _tag("warning"), _MAX_WARNINGS, RECORD)
    placed = {
        **fit.attrib,
        "overhead_cells": _pairs(fit, "overhead_cells"),
        "cells": [{**cell.attrib, "pins": _pairs(cell, "pins")} for cell in cells],
        "warnings": [warning.attrib for warning in warnings],
    }
    record = _read_record({**guest.attrib, "guest": guest.get("id"), "fit": placed}, RECORD)
    return record if asked is None else replace(record, request=_read_request(asked.text or "", f"{RECORD}, <request>"))


def _pairs(element: Element, attribute: str) -> list[list[str]]:
    """Pairs such as `0:4 1:5`."""
    return [word.split(":") for word in element.get(attribute, "").split()]


def _tag(local: str) -> str:
    return f"{{{NAMESPACE}}}{local}"
