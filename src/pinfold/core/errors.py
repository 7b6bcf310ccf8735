"""The exceptions of pinfold, one per kind of cause. "Does not fit" is no exception: it is the value `NoFit` of `core.fit`."""


class PinfoldError(Exception):
    """The base of every error that pinfold raises on purpose; its text is one sentence for the operator."""


class InvalidRequest(PinfoldError):
    """The caller's fault: a key, a value or a file that is not allowed.

    `key` names what was wrong (an extra spec, an option, a path), so that callers can point at it; it is also in the sentence.
    """

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class Conflict(PinfoldError):
    """Somebody else was first: a stale revision or generation. Read again, decide again."""


class Unavailable(PinfoldError):
    """A peer is away: libvirt, Placement, the database, an agent. Nothing was decided."""


class InvariantViolation(PinfoldError):
    """A bug of ours: a result broke a promise. Stop, and report it."""
