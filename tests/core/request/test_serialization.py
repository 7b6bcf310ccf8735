"""Requests as text and back."""

from __future__ import annotations

import pytest

from pinfold.core.cpuset import CpuSet
from pinfold.core.errors import InvalidRequest
from pinfold.core.request.compile import compile_request
from pinfold.core.request.model import Flavor, GuestRequest
from pinfold.core.request.serialization import read_request, write_request
from pinfold.store import codec

SPECS = {
    "hw:cpu_policy": "mixed",
    "hw:cpu_realtime": "yes",
    "hw:cpu_realtime_mask": "^0",
    "hw:emulator_threads_policy": "share",
    "hw:mem_page_size": "2MB",
    "hw:numa_nodes": "2",
    "hw:cpu_sockets": "2",
    "trait:HW_CPU_X86_AVX2": "required",
    "hw_video:ram_max_mb": "16",
}


def requests() -> list[GuestRequest]:
    plain = GuestRequest(vcpus=1, memory_mib=64)
    full = compile_request(Flavor(vcpus=4, memory_mib=64, extra_specs=tuple(sorted(SPECS.items()))), disks=1, nics=2)
    return [plain, full]


@pytest.mark.parametrize("request_", requests(), ids=["plain", "everything at once"])
def test_a_request_comes_back_as_it_was_written_in_the_form_of_the_store(request_: GuestRequest) -> None:
    back = read_request(write_request(request_))
    assert back.realtime == request_.realtime
    assert codec.decode(write_request(request_), GuestRequest) == back
    assert read_request(codec.encode(request_, GuestRequest)) == request_


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "{}", '{"v":1,"value":{"vcpus":1}}', '{"v":1,"value":{"vcpus":1,"memory_mib":2,"realtime":4}}', '"\ud800"']
)
def test_anything_else_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(InvalidRequest, match="request") as error:
        read_request(text)
    assert "\n" not in str(error.value)


def test_a_set_that_is_none_is_named() -> None:
    with pytest.raises(InvalidRequest, match="CPU list"):
        read_request('{"v":1,"value":{"vcpus":1,"memory_mib":2,"realtime":"x"}}')
    assert read_request('{"v":1,"value":{"vcpus":1,"memory_mib":2,"realtime":"0"}}').realtime == CpuSet.of(0)
