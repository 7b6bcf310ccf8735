"""The reference page of tempest's results, from the run that was committed and from the reasons."""

from __future__ import annotations

from collections import Counter

from docs.markdown import code, table
from tests.tempest import results
from tests.tempest.results import TEMPEST, WHITEBOX, Kept, Result

_PAGE = """# Tempest

[Tempest](https://docs.openstack.org/tempest/latest/) {version} is OpenStack's own test suite. It runs here against `pinfold up` with a real
Keystone, a bridge as network, real guests on a lab host, and two images of 64 KiB. Its configuration is `tests/tempest/tempest.conf`: what
pinfold has is on, and `run_validation` is false, since these guests have no ssh server. Single tests are counted, and the tests of a class
that was skipped or could not be set up count one by one. `tests/tempest/results.txt` has every test with its result.

```
bin/test --all tests/tempest
```

{counts}
## Tests that do not pass, by reason

{reasons}
## Tests by class

{classes}
## whitebox

[whitebox-tempest-plugin](https://opendev.org/openstack/whitebox-tempest-plugin) {whitebox} reads the domains of a host by ssh and
`virsh`, and changes the configuration of its agent with `crudini`. Its tests of processors, of memory and of the hardware that pinfold
gives a guest run unmodified against `pinfold api`, an agent of its own process and a lab host of two cells, each with two shared and six
dedicated pCPUs. Those of UEFI run with emulated guests, since not every KVM runs firmware for UEFI. `tests/tempest/whitebox.txt` has every
test with its result.

{white}"""


def tempest() -> str:
    """Counts by API, the reasons by how many tests they explain, and the classes."""
    run = TEMPEST.read()
    count = results.counts(run)
    statuses = tuple(results.STATUS.values())
    areas = [(area, *(str(count.get((area, status), 0)) for status in statuses)) for area in ("compute", "image", "network")]
    total = Counter(result.status for result in run)
    areas.append(("all", *(str(total[status]) for status in statuses)))
    return _PAGE.format(
        version=results.VERSION,
        counts=table(("API", *statuses), areas),
        reasons=_reasons(run),
        classes=_classes(run, statuses),
        whitebox=results.WHITEBOX_VERSION,
        white=_single(WHITEBOX),
    )


def _reasons(run: tuple[Result, ...]) -> str:
    known = TEMPEST.rules()
    found = Counter((results.reason(result, known), result.status) for result in run if result.status != "passed")
    sentences = {sentence for sentence, _ in found}
    ordered = sorted(sentences, key=lambda sentence: (-found[sentence, "failed"] - found[sentence, "skipped"], sentence))
    rows = [(sentence, str(found[sentence, "failed"]), str(found[sentence, "skipped"])) for sentence in ordered]
    return table(("reason", "failed", "skipped"), rows)


def _single(kept: Kept) -> str:
    """Every test of a short run, and why it did not pass."""
    known = kept.rules()
    return table(
        ("test", "result", "reason"),
        [
            (code(".".join(result.test.split(".")[-2:])), result.status, results.reason(result, known) if result.observed else "–")
            for result in kept.read()
        ],
    )


def _classes(run: tuple[Result, ...], statuses: tuple[str, ...]) -> str:
    count = Counter((result.test.rpartition(".")[0], result.status) for result in run)
    names = sorted({name for name, _ in count})
    return table(
        ("class", *statuses), [(code(name.removeprefix("tempest.")), *(str(count[name, status]) for status in statuses)) for name in names]
    )
