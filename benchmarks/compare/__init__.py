"""This tree beside another commit, in turns, on one machine."""
