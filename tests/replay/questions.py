"""New questions: hosts and requests from the oracle's generator, and hosts that hold still. For `record --new-questions` alone."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.oracle.generate import case, wanted_request
from tests.oracle.room import emptied, read
from tests.replay import adapter
from tests.replay.recording import dumped, write_text
from tests.replay.still import Still

HOSTS, EACH, SEED = 400, 50, 20_261_128
SHAPE = "pack:2 cell:1 core:16 pu:2 far mem:32768 huge:2048x1024 offline:5"
PINNED = {"hw:cpu_policy": "dedicated"}
FLAVORS: list[dict[str, Any]] = [
    {"vcpus": 2, "ram": 512, "specs": PINNED},
    {"vcpus": 4, "ram": 1024, "specs": PINNED | {"hw:emulator_threads_policy": "share"}},
    {"vcpus": 2, "ram": 512, "specs": PINNED | {"hw:emulator_threads_policy": "isolate"}},
    {"vcpus": 2, "ram": 512, "specs": PINNED | {"hw:cpu_thread_policy": "isolate", "hw:emulator_threads_policy": "isolate"}},
    {"vcpus": 4, "ram": 2048, "specs": PINNED | {"hw:numa_nodes": "2", "hw:mem_page_size": "2048"}},
    {"vcpus": 2, "ram": 512, "specs": PINNED | {"hw:cpu_realtime": "yes", "hw:cpu_realtime_mask": "^0"}},
    {"vcpus": 3, "ram": 512, "specs": {"hw:cpu_policy": "mixed", "hw:cpu_dedicated_mask": "0-1"}},
    {"vcpus": 2, "ram": 256, "specs": {}},
]
STATES = ("running", "running", "running", "paused", "running", "running", "stopped", "crashed")
CONFIG = """[DEFAULT]
host = {name}
[pinfold]
state_dir = FOLDER
flavors_file = FOLDER/flavors.toml
"""
SHARED, DEDICATED = "0-3,16-19,32-35,48-51", "4-15,20-31,36-47,52-63"
POOLS = f"""[compute]
cpu_shared_set = {SHARED}
cpu_dedicated_set = {DEDICATED}
"""
TOML = """[flavors."rt.share"]
vcpus = 2
ram = 512
[flavors."rt.share".properties]
"hw:cpu_policy" = "dedicated"
"hw:emulator_threads_policy" = "share"
[flavors.huge]
vcpus = 40
ram = 512
[flavors.huge.properties]
"hw:cpu_policy" = "dedicated"
"""
COMMANDS = ("guest list", "host show", "host map", "audit", "repair", "fit --flavor rt.share --xml", "fit --flavor huge", "config check")
OTHERS = (
    "fit --flavor rt.share --host-text core:4 --shared 0 --dedicated 1-3",
    "fit --vcpus 3 --ram 64 -p hw:cpu_policy=mixed -p hw:cpu_dedicated_mask=0-1 -p quota:cpu_shares=9 --host-text core:4 --dedicated 2-3",
    "fit --vcpus 2 --ram 64 -p hw:emulator_threads=share --host-text core:4",
    "config sample",
    "config clouds --url http://127.0.0.1:8774 --no-auth",
)


def make_questions() -> None:
    """Write `questions.jsonl`: hosts, and requests that lie near the edge of what each of them takes."""
    lines = []
    for number in range(HOSTS):
        one, rng = case(SEED, number), Random(f"{SEED} {number}")
        room, empty = read(one.state), read(emptied(one.state))
        asked = [adapter.request_plain(wanted_request(rng, room, empty)) for _ in range(EACH)]
        lines.append(dumped({**adapter.host_plain(one.state, one.strategy), "requests": asked}) + "\n")
    write_text("questions.jsonl", "".join(lines))


def make_still(nova: list[str]) -> None:
    """Write `still.json`: one host with guests of ours, of Nova's and of nobody, and one without pools that Nova alone uses."""
    ours = adapter.flavored_domains(FLAVORS, adapter.empty_host(SHAPE, SHARED, DEDICATED))
    domains = [_domain(xml, state, number) for number, (xml, state) in enumerate(zip(ours, STATES, strict=True))]
    domains[1]["threads"][0]["allowed"] = "0-4,6-63"
    domains[4]["threads"].pop()
    domains[5]["threads"][1]["scheduler"] = "fifo"
    broken = ours[0].replace("pinfold:guest", "pinfold:other").replace("000000000001", "000000000099").replace("guest-1<", "torn<")
    theirs = [_domain(xml, "running" if number % 3 else "stopped", 50 + number) for number, xml in enumerate(nova)]
    domains += [_domain(broken, "running", 40), *theirs[:4]]
    commands = [f"{line} --json" for line in COMMANDS]
    commands += [f"guest show {name} --json" for name in ("guest-1", "guest-2", "guest-5", "guest-6", "guest-7", "torn", "nobody")]
    commands += [
        "guest show instance-00000001 --json",
        "guest stop guest-1 --json",
        "guest replace guest-7 --json",
        "guest restart guest-7 --json",
        "guest start new --flavor huge --rom FOLDER/a.rom --json",
        "guest orphans --service-is-gone --json",
        "guest replace guest-1 --json",
    ]
    commands += [f"{line} --json" for line in OTHERS]
    first = {"name": "ours", "shape": SHAPE, "config": CONFIG.format(name="h1") + POOLS, "domains": domains, "flavors": TOML}
    second = {"name": "nova", "shape": SHAPE, "config": CONFIG.format(name="h2"), "domains": theirs, "flavors": TOML}
    hosts = [{**first, "commands": commands}, {**second, "commands": [f"{line} --json" for line in COMMANDS]}]
    write_text("still.json", json.dumps(hosts))


def _domain(xml: str, state: str, number: int) -> dict[str, Any]:
    """A domain with the threads that its own definition asks for."""
    domain: dict[str, Any] = {"xml": xml, "state": state, "pid": 1000 + number if state in ("running", "paused") else None, "threads": []}
    (guest,) = Still(shape=SHAPE, domains=(domain,)).guests()
    pins, tid = guest.pins, 1000 + number
    everywhere = str(pins.placement or "0-4,6-63")
    threads = [{"tid": tid, "name": "qemu-system-x86", "class": "emulator", "allowed": str(pins.emulator or everywhere)}]
    threads += [{"tid": tid + 100, "name": f"vhost-{tid}", "class": "vhost", "allowed": str(pins.emulator or everywhere)}]
    for vcpu in range(guest.vcpus):
        allowed = str(dict(pins.vcpus).get(vcpu, everywhere))
        scheduler = "fifo" if vcpu in pins.realtime else "other"
        name = f"CPU {vcpu}/KVM"
        threads.append({"tid": tid + 200 + vcpu, "name": name, "class": "vcpu", "allowed": allowed, "vcpu": vcpu, "scheduler": scheduler})
    return {**domain, "threads": threads}
