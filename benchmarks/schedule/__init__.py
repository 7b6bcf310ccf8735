"""How fast hosts are decided on, and what a create costs beside one bare allocation in Placement."""
