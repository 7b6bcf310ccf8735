"""Operations on one host, with or without the service: survey, place, start, stop, verify, repair."""
