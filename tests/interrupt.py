"""`InterruptOnce`: let SIGTERM end a process as Ctrl-C does, with everything that it started."""

from __future__ import annotations

import os
import signal


class InterruptOnce:
    """Interrupts this process once, since `timeout` sends its signal twice. A fork ends at once, as it does without a handler."""

    def __init__(self) -> None:
        self._process, self._ends = os.getpid(), False

    def __call__(self, number: int, frame: object) -> None:
        if os.getpid() != self._process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif not self._ends:
            self._ends = True
            raise KeyboardInterrupt(signal.Signals(number).name)
