"""`python -m pinfold` is the command `pinfold`."""

from pinfold.wiring.command import main

main()
