"""Which microversion a request asks for."""

import pytest

from pinfold.api.microversion import NEWEST, MalformedVersion, Microversion, UnsupportedVersion, answer_headers, negotiate


@pytest.mark.parametrize(
    ("standard", "legacy", "version"),
    [
        pytest.param(None, None, Microversion(2, 1), id="nothing asked is 2.1"),
        pytest.param("compute 2.53", None, Microversion(2, 53), id="the standard header"),
        pytest.param(None, "2.53", Microversion(2, 53), id="the legacy header"),
        pytest.param("compute 2.53", "2.1", Microversion(2, 53), id="the standard header wins"),
        pytest.param("volume 3.1", None, Microversion(2, 1), id="another service's version is not ours"),
        pytest.param("volume 3.1,compute latest", None, NEWEST, id="latest, in a list"),
    ],
)
def test_negotiation(standard: str | None, legacy: str | None, version: Microversion) -> None:
    assert negotiate(standard, legacy) == version
    assert answer_headers(version)["OpenStack-API-Version"] == f"compute {version}"


@pytest.mark.parametrize("text", ["", "2", "2.", "2.01", "two", "2.1.1", "-2.1", "2.99999"])
def test_what_is_no_version_is_malformed(text: str) -> None:
    with pytest.raises(MalformedVersion):
        negotiate(None, text)


@pytest.mark.parametrize("text", ["2.0", "2.97", "3.0", "1.1"])
def test_what_is_not_served_is_unsupported(text: str) -> None:
    with pytest.raises(UnsupportedVersion):
        negotiate(None, text)
