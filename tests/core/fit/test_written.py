"""The written form of a fit and its warnings."""

from __future__ import annotations

import json

from msgspec.structs import replace

from pinfold.core.cpuset import CpuSet
from pinfold.core.encoding import decoder, encode
from pinfold.core.fit.answer import Fit, NoFit
from pinfold.core.fit.written import Refusal, refusal, written, written_refusal
from pinfold.core.reasons import Kind, Reason, ReasonCode

WARNING = Reason(code=ReasonCode.OVERHEAD_BOOKED, kind=Kind.INSUFFICIENT, needed=90, available=-40)
FIT = Fit(vcpus=1, memory_mib=64, float_vcpus=CpuSet.of(0), float_set=CpuSet.of(4), emulator=CpuSet.of(4), warnings=(WARNING,))
_read_fit = decoder(Fit)
_read_refusal = decoder(Refusal)


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


def test_a_refusal_is_kept_without_sentences_and_written_with_them() -> None:
    kept = refusal(NoFit(reasons=(WARNING, replace(WARNING, cell=1, code=ReasonCode.MEMORY))), "c01", 7)
    assert "sentence" not in json.loads(encode(kept))["value"]["reasons"][0]
    form = json.loads(encode(written_refusal(kept)))["value"]
    assert [reason["sentence"] for reason in form["reasons"]] == form["sentence"].split("; ")
    assert form["sentence"].startswith("overhead pool has -40 of 90 millicpu free; ")
    assert written_refusal(
        _read_refusal(encode(written_refusal(kept)).replace("overhead pool has", "all is well:"), "it")
    ) == written_refusal(kept)


def test_a_refusal_without_reasons_keeps_its_sentence() -> None:
    earlier = _read_refusal('{"v":1,"value":{"host":"c01","revision":7,"sentence":"the host is down"}}', "it")
    assert written_refusal(earlier) == earlier == Refusal(host="c01", revision=7, sentence="the host is down")
