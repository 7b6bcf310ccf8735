"""The libvirt driver: capabilities to topology, fit to domain XML, records to metadata and back. Only `connection` imports libvirt."""
