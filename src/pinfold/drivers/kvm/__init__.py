"""What is true of any QEMU or KVM process, whoever started it: thread classes, masks from procfs and cgroups, moving and ending."""
