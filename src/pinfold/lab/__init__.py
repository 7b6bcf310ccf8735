"""Private libvirt hosts to try pinfold on and to test it with, of the real topology or a synthetic one.

`cli.lab`, `wiring`, tests and benchmarks import this package, and no other part does.
A lab lives in one folder, by default `/run/pinfold-lab/NAME`. Other parts may rely on these files:

- `run/` is the folder of the socket that the URI names; inside the lab it is `/run/libvirt`.
- `run/pinfold-lab.json` tells the witness: `{"name", "synthetic", "records", "sysfs", ...}`.
- `run/fakecpu/TID`, in a synthetic lab alone: one line, the cpulist that was asked for that thread. A thread without a record has that
  of its process.
"""
