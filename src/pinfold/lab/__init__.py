"""Private libvirt hosts for trying and testing, with the real topology or a synthetic one. Nothing else imports this.

A lab lives in one folder, by default `/run/pinfold-lab/NAME`. What another part may rely on, with no import:

- `run/` is the folder of the socket that the URI names; inside the lab it is `/run/libvirt`.
- `run/pinfold-lab.json` tells the witness: `{"name", "synthetic", "records", "sysfs", ...}`.
- `run/fakecpu/TID`, in a synthetic lab alone: one line, the cpulist that was asked for that thread. A thread without a record has that
  of its process.
"""
