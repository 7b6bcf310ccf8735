"""How many guests a fleet holds under each emulator policy, by `pinfold simulate`."""
