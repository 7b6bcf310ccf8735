"""One extra spec on its own."""

import pytest

from pinfold.core.errors import InvalidRequest
from pinfold.core.request.vet import vet_extra_spec


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hw:cpu_policy", "dedicated"),
        ("hw:numa_cpus.0", "0-3"),
        ("hw:numa_mem.1", "512"),
        ("hw:cpu_dedicated_mask", "^0-1"),
        ("hw:cpu_realtime_mask", "^0"),
        ("hw:emulator_threads_policy", "isolate"),
        ("resources:PCPU", "4"),
        ("trait:CUSTOM_FAST", "required"),
        ("quota:cpu_shares", "10"),
    ],
)
def test_a_key_that_needs_others_may_stand_alone(key: str, value: str) -> None:
    vet_extra_spec(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hw:cpu_policy", "pinned"),
        ("hw:emulator_thread_policy", "share"),
        ("hw:numa_cpus.0", "a-b"),
        ("trait:CUSTOM_FAST", "maybe"),
        ("hw:mem_page_size", "2Mbit"),
    ],
)
def test_a_malformed_or_unknown_one_is_refused(key: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=key.split(":")[0]):
        vet_extra_spec(key, value)
