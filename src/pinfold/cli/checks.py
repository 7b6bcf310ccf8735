"""The checks of `config check` and `doctor`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
from msgspec import Struct, structs

from pinfold.cli.session import open_session
from pinfold.core.errors import InvalidRequest, Unavailable
from pinfold.core.overhead import PoolState, rules
from pinfold.core.plural import count
from pinfold.core.request.model import EmulatorPolicy, Flavor, GuestRequest
from pinfold.drivers.checkup import Check, Checkup, Health, Seen, needs_of

if TYPE_CHECKING:
    from pinfold.config import Configuration
    from pinfold.core.host import Locality
    from pinfold.core.networks import HostNetwork
    from pinfold.core.topology import Topology
    from pinfold.drivers.port import Driver
    from pinfold.host.checkups.facts import PcpuFacts
    from pinfold.host.survey import Survey

_NOT_USABLE: Final = "not checked against this host: these files cannot be used"
_NOT_TO_PLACE: Final = f"{_NOT_USABLE} to place guests; audit, repair, host and guest list|show read them"


class CheckResult(Struct, frozen=True, kw_only=True):
    """The result of checking configuration files: the files, the warnings in order, and the pools that they define on this host.

    `errors` make the files unusable. `host` says against what the pools were checked, or why they were not. `pools` are cpulists by
    name. `locality` is None if no option can be read. `networks` says by name what the networks file connects servers to.
    """

    files: tuple[str, ...]
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...]
    host: str
    pools: dict[str, str] = {}
    locality: Locality | None = None
    networks: dict[str, str] = {}


def check_configuration(context: typer.Context, files: Sequence[str], uri: str | None, *, offline: bool) -> CheckResult:
    """Check the files, and their pools against this host if libvirt answers.

    Raises `InvalidRequest` for a named file that does not exist.
    """
    from pinfold.config import find_files
    from pinfold.config.check import repeated
    from pinfold.config.errors import readable, usable
    from pinfold.core.pools import check_disjoint
    from pinfold.host.survey import survey

    found = find_files(files, os.environ, nova=True)
    good, entries, errors = readable(found)
    configuration, wrong = usable(good)
    errors += wrong
    warnings = [*(configuration.warnings if configuration is not None else ()), *repeated(entries)]
    if configuration is None:
        return CheckResult(files=found, warnings=tuple(warnings), host=_unusable(found), errors=tuple(errors))
    flavors_wrong, flavors_odd = _flavors(configuration)
    networks, networks_wrong = _networks(configuration)
    errors = [*errors, *flavors_wrong, *networks_wrong]
    warnings = [*warnings, *flavors_odd, *image_problems(Path(configuration.settings.images_dir))]
    if uri:
        configuration = replace(configuration, settings=structs.replace(configuration.settings, uri=uri))
    locality = configuration.settings.limits.locality
    read = CheckResult(
        files=found,
        warnings=tuple(warnings),
        host="",
        errors=tuple(errors),
        locality=locality,
        networks={one.name: one.sentence() for one in networks},
    )
    try:
        check_disjoint(configuration.settings.pools)
        if errors:
            return structs.replace(read, host=_unusable(found))
        if offline:
            return structs.replace(read, host="not checked against this host (--offline)")
        with open_session(context, configuration, checks=True) as session:
            seen = survey(session.driver, session.settings)
    except Unavailable as error:
        return structs.replace(read, host=f"not checked against this host: {error}")
    except InvalidRequest as error:
        return structs.replace(read, host=_unusable(found), errors=(*errors, str(error)))
    pools = seen.state.pools
    shown = {"dedicated": str(pools.dedicated), "shared": str(pools.shared), "overhead": str(pools.overhead or "")}
    return structs.replace(read, warnings=(*warnings, *seen.warnings), host=f"checked against {configuration.settings.uri}", pools=shown)


def _unusable(files: Sequence[str]) -> str:
    """What files with errors can still be used for: nothing, or the commands that place no guests."""
    from pinfold.config import load
    from pinfold.core.pools import check_disjoint

    try:
        load(files)
    except InvalidRequest:
        with suppress(InvalidRequest):
            check_disjoint(load(files, audits=True).settings.pools)
            return _NOT_TO_PLACE
    return _NOT_USABLE


def _flavors(configuration: Configuration) -> tuple[list[str], list[str]]:
    """Errors and warnings about the flavors file: a named file that does not exist, and flavors that are no valid request."""
    from pinfold.config.flavors import check_flavors

    file = configuration.flavors_file
    if os.path.lexists(file):
        flavors, errors = check_flavors(file)
        return [str(error) for error in errors], flavor_problems(flavors)
    if configuration.flavors_named:
        return [], [f"flavors file {file} ([pinfold] flavors_file) is not there: no command takes a flavor by its name"]
    return [], []


def _networks(configuration: Configuration) -> tuple[tuple[HostNetwork, ...], list[str]]:
    """The networks of the networks file, and what is wrong with it; nothing for a host without one."""
    from pinfold.config.networks import read_networks

    if not configuration.networks_named and not os.path.lexists(configuration.networks_file):
        return (), []
    try:
        return read_networks(configuration.networks_file), []
    except InvalidRequest as error:
        return (), [str(error)]


def image_problems(directory: Path) -> list[str]:
    """One sentence for each file of the image directory that is no usable image."""
    from pinfold.api.image.catalog import inspect_catalog

    try:
        return list(inspect_catalog(directory).problems)
    except Unavailable as error:
        return [f"[pinfold] images_dir {directory}: {error}"]


def flavor_problems(flavors: Sequence[Flavor]) -> list[str]:
    """One sentence for each flavor from which no guest can be made."""
    from pinfold.core.request.compile import compile_request

    problems = []
    for flavor in flavors:
        try:
            compile_request(flavor)
        except InvalidRequest as error:
            problems.append(f"flavor {flavor.name}: {error}")
    return problems


def checkups(context: typer.Context, configuration: Configuration) -> tuple[Checkup, ...]:
    """Check everything that the start of a guest needs, in the order in which it needs it."""
    from pinfold.drivers.registry import kind_of
    from pinfold.host.checkups import host_checkups, machine_facts
    from pinfold.host.checkups.firmware import firmware_checkups
    from pinfold.host.survey import survey

    settings = configuration.settings
    kind = kind_of(settings.uri)
    requests, unreadable = _requests(configuration)
    needs = needs_of(requests)
    found = (_configuration(configuration), _kvm(), _qemu_img(), _cpuset(), _state_dir(configuration), *unreadable)

    def special(topology: Topology | None) -> tuple[Checkup, ...]:
        return kind.checkups(settings.uri, needs, realtime_priority=settings.realtime_priority, topology=topology)

    try:
        with open_session(context, configuration, checks=True) as session:
            seen = survey(session.driver, session.settings)
            of_driver = special(seen.state.topology)  # a socket-activated daemon runs only by now
            processor = [*_processor(session.driver), *firmware_checkups(session.driver.features(), requests)]
            facts = machine_facts(session.driver, seen)
            of_host = host_checkups(session.driver, session.settings, seen, facts, needs)
    except (Unavailable, InvalidRequest) as error:
        repair = kind.start_command(settings.uri) if isinstance(error, Unavailable) else ""
        return (*found, *special(None), Check.HYPERVISOR.found(Health.BAD, str(error), what=f"{kind.name} and pools", repair=repair))
    guests = f"{settings.uri} answers; {count(len(seen.ours), 'guest')} of ours, {len(seen.guests) - len(seen.ours)} of others"
    return (*found, *of_driver, Check.HYPERVISOR.found(Health.GOOD, guests, what=kind.name), *processor, *_pools(seen, facts), *of_host)


def _processor(driver: Driver) -> list[Checkup]:
    """What processor new guests get; nothing where the driver starts none."""
    try:
        words = driver.processor()
    except InvalidRequest as error:
        return [Check.GUEST_CPU.found(Health.BAD, str(error))]
    return [Check.GUEST_CPU.found(Health.GOOD, words)] if words else []


def _configuration(configuration: Configuration) -> Checkup:
    from pinfold.config import load

    try:
        load(configuration.files)
    except InvalidRequest as error:
        return Check.CONFIGURATION.found(Health.BAD, f"no guest is placed by these files: {error}")
    if configuration.warnings:
        return Check.CONFIGURATION.found(Health.POOR, "; ".join(configuration.warnings))
    words = ", ".join(configuration.files) or "no file: every option has its default"
    return Check.CONFIGURATION.found(Health.GOOD if configuration.files else Health.POOR, words)


def _kvm() -> Checkup:
    if not os.path.exists("/dev/kvm"):
        return Check.KVM.found(Health.POOR, "/dev/kvm is not there: guests are emulated")
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return Check.KVM.found(Health.POOR, "/dev/kvm is there, but this user may not use it; libvirt's may")
    return Check.KVM.found(Health.GOOD, "/dev/kvm is there")


def _qemu_img() -> Checkup:
    path = shutil.which("qemu-img")
    if path is None:
        words = "it is not installed (package qemu-utils); guests with a disk do not start"
        return Check.QEMU_IMG.found(Health.POOR, words, seen=(Seen(source="$PATH", value=os.environ.get("PATH", "")),))
    return Check.QEMU_IMG.found(Health.GOOD, path)


def _cpuset() -> Checkup:
    from pinfold.linux.cgroup import CgroupVersion, cpuset_hierarchy

    found = cpuset_hierarchy()
    if found.version is CgroupVersion.NONE:
        words = "there is none: nothing holds threads that a guest starts later, other than what they inherit"
        return Check.CPUSET_CGROUP.found(Health.POOR, words, seen=(Seen(source="/proc/self/mounts", value="no cpuset"),))
    return Check.CPUSET_CGROUP.found(Health.GOOD, f"{found.version.value} at {found.root}")


def _state_dir(configuration: Configuration) -> Checkup:
    folder = Path(configuration.settings.state_dir)
    nearest = next(parent for parent in (folder, *folder.parents) if os.path.exists(parent))
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Check.STATE_DIR.found(Health.BAD, f"{folder} cannot be written by this user")
    return Check.STATE_DIR.found(Health.GOOD, f"{folder}" + ("" if nearest == folder else ", made when it is needed"))


def _requests(configuration: Configuration) -> tuple[list[GuestRequest], tuple[Checkup, ...]]:
    """The flavors of the flavors file as requests, with a checkup if it cannot be read. `config check` reports those that are no valid
    request.
    """
    from pinfold.config.flavors import read_flavors
    from pinfold.core.request.compile import compile_request

    if not os.path.exists(configuration.flavors_file):
        return [], ()
    found = []
    try:
        for flavor in read_flavors(configuration.flavors_file).values():
            with suppress(InvalidRequest):
                found.append(compile_request(flavor))
    except InvalidRequest as error:
        return [], (Check.FLAVORS.found(Health.POOR, str(error)),)
    return found, ()


def _pools(seen: Survey, facts: PcpuFacts | None) -> list[Checkup]:
    """The pools, and the warnings about them that no check of its own judges."""
    from pinfold.host.checkups.pools import judged_warnings

    pools, judged = seen.state.pools, judged_warnings(seen, facts)
    poor = [sentence for sentence in seen.warnings if sentence not in judged]
    if not pools.dedicated:
        poor.append("there is no dedicated pool (cpu_dedicated_set): guests with pinned vCPUs fit nowhere on this host")
    elif pools.overhead is None:
        poor.append(f"there is no overhead pool: emulator threads of policy share {rules(EmulatorPolicy.SHARE)[PoolState.NONE].sentence}")
    if poor:
        return [Check.POOLS.found(Health.POOR, sentence) for sentence in poor]
    words = f"dedicated {pools.dedicated}, shared {pools.shared or 'none'}, overhead {pools.overhead}"
    return [Check.POOLS.found(Health.GOOD, words)]
