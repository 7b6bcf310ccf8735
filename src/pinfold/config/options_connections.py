"""The options that limit the API's clients: connections and times. They extend the group of the API's other options."""

from __future__ import annotations

from oslo_config import cfg

from pinfold.config.option_group import OptionGroup

_MOST = 1_000_000
_LONGEST = 3600.0

_API = OptionGroup(
    name="pinfold_api",
    title="The HTTP application.",
    exclusive=True,
    options=(
        cfg.IntOpt(
            "connections",
            default=16384,
            min=64,
            max=_MOST,
            help="How many connections may be open at once; fewer where the limit of open files (LimitNOFILE) is lower. Where no more fit, "
            "one that waits gives way, a stranger's first. A stranger's is one that has sent no right password or token yet.",
        ),
        cfg.IntOpt(
            "connections_of_strangers",
            default=512,
            min=16,
            max=_MOST,
            help="How many connections of strangers there may be at once; the rest of `connections` is for accounts and agents.",
        ),
        cfg.IntOpt(
            "connections_per_address",
            default=128,
            min=4,
            max=_MOST,
            help="How many connections of strangers one client address may have; a new one ends the one that came first, but none whose "
            "token or password is being checked. Half as many are checked at a time, and others are answered 429. Of IPv6, a /64 counts as "
            "one address. Behind a trusted proxy it is how many requests; more are answered 429.",
        ),
        cfg.IntOpt(
            "connections_per_account",
            default=256,
            min=4,
            max=_MOST,
            help="How many connections one account may have, from whatever addresses.",
        ),
        cfg.IntOpt("connections_per_agent", default=32, min=8, max=_MOST, help="How many connections the agent of one host may have."),
        cfg.FloatOpt(
            "handshake_seconds", default=10.0, min=0.5, max=_LONGEST, help="How long a client may take for the TLS handshake, in seconds."
        ),
        cfg.FloatOpt(
            "head_seconds",
            default=10.0,
            min=0.5,
            max=_LONGEST,
            help="How long a client may take to send a request's head, in seconds; for the first one, from the connection on.",
        ),
        cfg.FloatOpt("body_seconds", default=30.0, min=0.5, max=_LONGEST, help="How long a client may take to send a body, in seconds."),
        cfg.FloatOpt(
            "idle_seconds",
            default=30.0,
            min=0.5,
            max=_LONGEST,
            help="How long a connection stays open after an answer while its client asks nothing, in seconds.",
        ),
        cfg.FloatOpt(
            "answer_seconds",
            default=30.0,
            min=0.5,
            max=_LONGEST,
            help="How long a client may take nothing of an answer that waits for it, in seconds.",
        ),
    ),
)

GROUPS: tuple[OptionGroup, ...] = (_API,)
