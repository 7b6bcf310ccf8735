"""The driver of QEMU processes with no libvirt in reach: started by hand, by Proxmox, or in a pod. Its address is `processes:`."""
