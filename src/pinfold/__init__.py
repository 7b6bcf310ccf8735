"""CPU placement for KVM hosts: where vCPUs and the hypervisor's own threads may run, accounted for and proven."""

__version__ = "0.1.0"
