"""The sentences and codes of findings."""

from __future__ import annotations

from tests.build.threads import WEB

from pinfold.core.drift import Finding, FindingCode, record_unreadable


def test_an_unreadable_record_says_why() -> None:
    finding = record_unreadable(WEB, "no fit in it", "virsh -c qemu:///system shutdown web")
    assert finding.sentence() == "guest web: the record in its definition cannot be read: no fit in it"


def test_every_code_has_a_sentence_and_a_value_of_its_own() -> None:
    assert len({code.value for code in FindingCode}) == len(FindingCode)
    for code in FindingCode:
        assert Finding(code=code, guest="web").sentence().startswith("guest web: ")
