"""Private libvirt hosts for trying and testing pinfold, with the real topology or a synthetic one.

`cli.lab`, `wiring`, tests and benchmarks import this package, and no other part does.
A lab lives in one folder, by default `/run/pinfold-lab/NAME`. Other parts may rely on these files:

- `run/` is the folder of the socket that the URI names; inside the lab it is `/run/libvirt`.
- `run/pinfold-lab.json` tells the witness: `{"name", "synthetic", "records", "sysfs", ...}`.
- `run/fakecpu/TID`, only in a synthetic lab: one line, the cpulist that was requested for that thread. A thread without a record has the
  record of its process.
"""
