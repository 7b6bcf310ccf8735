"""Where a guest can go on one host: count, match, choose cores, choose the emulator's CPU, check. `engine` has the public functions."""
