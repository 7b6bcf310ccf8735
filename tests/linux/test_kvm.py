"""What KVM says it can do: asked of the real device where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pinfold.linux import kvm


def test_the_device_answers() -> None:
    if not kvm.DEVICE.exists():
        pytest.skip("this machine has no /dev/kvm")
    assert kvm.has_system_management_mode() in (True, False)


def test_what_is_no_kvm_cannot_be_asked(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert kvm.has_system_management_mode(tmp_path / "file") is None
    assert kvm.has_system_management_mode(tmp_path / "absent") is None
