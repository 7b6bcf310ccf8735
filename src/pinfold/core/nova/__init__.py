"""Account overhead in a Nova cloud that stays as it is: provider configuration, flavors, and the check of both. Pure.

Nova reads an inventory and a trait of each compute node from a file (`provider_config`), and flavors ask for both (`flavors`). `accounting`
compares them with what Placement has. What a pool holds and what a guest books is decided in `core.overhead`.
"""
