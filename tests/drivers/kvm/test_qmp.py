"""Thread ids in the answers of QEMU's monitor."""

from __future__ import annotations

import pytest

from pinfold.drivers.kvm import qmp


def test_qmp_answers_tell_thread_ids() -> None:
    cpus = '{"return": [{"thread-id": 104, "cpu-index": 0, "qom-path": "/m"}, {"thread-id": 105, "cpu-index": 1}]}'
    assert qmp.vcpu_threads(cpus) == {104: 0, 105: 1}
    assert qmp.vcpu_threads(cpus.replace("105", "104")) == {}
    threads = '{"return": [{"thread-id": 9, "id": "iothread3"}, {"thread-id": 8, "id": "mon_iothread"}]}'
    assert qmp.iothread_threads(threads) == {9: 3}


@pytest.mark.parametrize("answer", ['{"error": {"class": "CommandNotFound", "desc": "x"}, "id": "libvirt-9"}', "{}", ""])
def test_a_monitor_that_refuses_to_tell_tells_of_no_thread(answer: str) -> None:
    assert qmp.vcpu_threads(answer) == {}
    assert qmp.iothread_threads(answer) == {}
