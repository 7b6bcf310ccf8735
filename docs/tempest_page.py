"""The reference page of tempest's results, from the run that was committed and from the reasons."""

from __future__ import annotations

from collections import Counter

from docs.markdown import code, table
from tests.tempest import results
from tests.tempest.results import Result

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

{classes}"""


def tempest() -> str:
    """Counts by API, the reasons by how many tests they explain, and the classes."""
    run = results.committed()
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
    )


def _reasons(run: tuple[Result, ...]) -> str:
    known = results.rules()
    found = Counter((results.reason(result, known), result.status) for result in run if result.status != "passed")
    sentences = {sentence for sentence, _ in found}
    ordered = sorted(sentences, key=lambda sentence: (-found[sentence, "failed"] - found[sentence, "skipped"], sentence))
    rows = [(sentence, str(found[sentence, "failed"]), str(found[sentence, "skipped"])) for sentence in ordered]
    return table(("reason", "failed", "skipped"), rows)


def _classes(run: tuple[Result, ...], statuses: tuple[str, ...]) -> str:
    count = Counter((result.test.rpartition(".")[0], result.status) for result in run)
    names = sorted({name for name, _ in count})
    return table(
        ("class", *statuses), [(code(name.removeprefix("tempest.")), *(str(count[name, status]) for status in statuses)) for name in names]
    )
