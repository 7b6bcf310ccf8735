"""`Draft`: the watch's draft of its next state. Only `step` and its parts hold one."""

from __future__ import annotations

from typing import TypeAlias

from pinfold.host.loop_draft import LoopDraft
from pinfold.watch.messages import Action
from pinfold.watch.state import State

Draft: TypeAlias = LoopDraft[State, Action]
