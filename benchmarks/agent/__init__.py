"""What an agent costs its host: starts beside `virsh create`, sweeps over many guests, memory."""
