"""The written form of a fit and its warnings."""

from __future__ import annotations

import json

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import decoder, encode
from pinfold.core.fit.answer import Fit
from pinfold.core.fit.written import written
from pinfold.core.reasons import Kind, Reason, ReasonCode

WARNING = Reason(code=ReasonCode.OVERHEAD_BOOKED, kind=Kind.INSUFFICIENT, needed=90, available=-40)
FIT = Fit(vcpus=1, memory_mib=64, float_vcpus=CpuSet.of(0), float_set=CpuSet.of(4), emulator=CpuSet.of(4), warnings=(WARNING,))
_read_fit = decoder(Fit)


def test_a_warning_is_written_with_its_sentence() -> None:
    (warning,) = json.loads(encode(written(FIT)))["value"]["warnings"]
    assert warning == {
        "code": "overhead-booked",
        "kind": "insufficient",
        "cell": None,
        "needed": 90,
        "available": -40,
        "detail": "",
        "sentence": "overhead pool has -40 of 90 millicpu free",
    }


def test_the_sentence_is_ignored_when_it_is_read() -> None:
    text = encode(written(FIT))
    assert _read_fit(text, "it") == FIT
    assert _read_fit(text.replace("overhead pool has", "all is well:"), "it") == FIT
    assert _read_fit(encode(FIT), "it") == FIT


def test_a_fit_is_written_the_same_each_time() -> None:
    assert encode(written(written(FIT))) == encode(written(FIT))
    assert written(replace(FIT, warnings=())) == replace(FIT, warnings=())
