"""The trial behind `pinfold bench latency`: how long the overhead threads of a guest keep its vCPU from running, on two pCPUs.

A guest without an operating system measures itself (`pinfold.lab.rom`), in a lab of its own, with its overhead threads on the pCPU of its
vCPU (float) and on another one (share), in turns.
"""
