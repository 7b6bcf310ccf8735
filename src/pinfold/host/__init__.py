"""What is done on one host, with or without a service: survey, place, start, stop, verify."""
