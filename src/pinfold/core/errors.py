"""The exceptions of pinfold, one per kind of cause. "Does not fit" is a value, `core.fit.NoFit`, and not an exception."""


class PinfoldError(Exception):
    """The base class of pinfold's errors. The text is one sentence for the operator."""


class InvalidRequest(PinfoldError):
    """The caller's fault: a key, a value or a file that is not allowed.

    `key` names the wrong extra spec, option or path, so that callers can point to it. The sentence contains it too.
    """

    def __init__(self, message: str, *, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class NotFound(InvalidRequest):
    """The caller names something that does not exist."""


class LimitReached(PinfoldError):
    """The caller wants more of something than pinfold keeps."""


class Conflict(PinfoldError):
    """A stale revision or generation: somebody else wrote first. Read again and decide again."""


class RolledBack(Conflict):
    """The database rolled a transaction back in favour of another one. Nothing of it was written, and the same may be tried again."""


class Unavailable(PinfoldError):
    """A peer does not answer: libvirt, Placement, the database or an agent. Nothing was decided."""


class InvariantViolation(PinfoldError):
    """A bug in pinfold: a result breaks an invariant. Stop and report it."""


def not_found(what: str, name: object) -> NotFound:
    """The error for an object that does not exist.

    >>> str(not_found("Flavor", "big"))
    'Flavor big could not be found.'
    """
    return NotFound(f"{what} {str(name)[:255]} could not be found.")
