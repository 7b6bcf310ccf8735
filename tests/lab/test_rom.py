"""The probe ROM as bytes; that it boots is for the suite on real guests."""

from __future__ import annotations

import pytest

from pinfold.lab import rom
from pinfold.lab.daemon import missing


def test_parameters_are_stamped_in_their_order() -> None:
    stamped = rom.stamp(b"..PROBEPRM" + bytes(44) + b"..", rom.Parameters(behaviour=rom.Behaviour.TICK, io=rom.Io.DISK, io_write=1))
    numbers = [int.from_bytes(stamped[10 + 4 * n : 14 + 4 * n], "little") for n in range(11)]
    assert numbers == [2, 2_000_000, 1000, 10, 100, 1, 1000, 4096, 1, 1, 0]
    assert stamped[-2:] == b".." and len(stamped) == 56


@pytest.mark.skipif(bool(missing()), reason="; ".join(missing()))
def test_the_rom_is_64_kib_and_ends_with_the_reset_vector() -> None:
    built = rom.build()
    assert len(built) == 65536
    assert built[0xFFF0] == 0xEA  # a far jump
    assert built.count(b"PROBEPRM") == 1
