"""Host maps and their overhead as the recorded code printed them, the command line and the service each in a form of its own."""

from __future__ import annotations

from typing import Any


def own_booking(answer: Any) -> Any:
    """A document with the command line's own form of the overhead pool."""
    booking = answer["out"].pop("overhead")
    keys = {"booked": "booked_millicpu", "total": "total_millicpu", "guests": "guests", "others": "others"}
    answer["out"]["overhead_millicpu"] = booking and {old: booking[new] for old, new in keys.items()}
    return answer


def of_the_command(answer: Any) -> Any:
    """The map of a host as the command line alone had it."""
    document = answer["out"]
    cores = [core for cell in document["cells"] for core in cell["cores"]]
    pcpus = [pcpu for core in cores for pcpu in core["pcpus"]] + document["offline"]
    for core in cores:
        del core["siblings"]
    for pcpu in pcpus:
        del pcpu["offline"]
        for owner in pcpu["owners"]:
            owner["guest"] = owner["guest"].removeprefix("<guest ").removesuffix(">")
            del owner["name"], owner["drifted"]
    for cell in document["cells"]:
        del cell["dedicated"], cell["dedicated_free"]
    for key in ("revision", "dedicated_free", "floating_vcpus", "floating_memory_free_mib"):
        del document[key]
    return own_booking(answer)


def of_the_service(exchange: Any) -> Any:
    """The map of a host as the service alone had it."""
    chart = exchange["answer"]
    if "cells" not in chart:
        return exchange
    pcpus = [
        {
            "pcpu": pcpu["pcpu"],
            "cell": cell["id"],
            "core": number,
            "siblings": core["siblings"],
            "pool": pcpu["pool"],
            "overhead": pcpu["overhead"],
            "role": pcpu["role"],
            "retiring": pcpu["retiring"],
            "guest": owner.get("guest"),
            "name": owner.get("name"),
            "vcpu": owner.get("vcpu"),
        }
        for cell in chart["cells"]
        for number, core in enumerate(cell["cores"])
        for pcpu in core["pcpus"]
        for owner in (pcpu["owners"] or [{"guest": "" if pcpu["role"] else None}])[:1]
    ]
    booking = chart["overhead"]
    overhead = {"booked_millicpu": booking["booked_millicpu"], "capacity_millicpu": booking["total_millicpu"]}
    return exchange | {"answer": {"host": chart["host"], "revision": chart["revision"], "pcpus": pcpus, "overhead": overhead}}
