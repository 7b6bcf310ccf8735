"""The libvirt driver: capabilities to topology, fit to domain XML, metadata and back; one module connects."""
