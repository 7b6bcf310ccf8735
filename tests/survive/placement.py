"""A Placement of its own: the real WSGI application on one address, for suites in which it is away, slow or broken.

Usage: python -m tests.survive.placement DATABASE_URL PORT. It prints `ready`. On SQLite it takes one request at a time, since SQLite does.
"""

from __future__ import annotations

import sys

import uvicorn
from a2wsgi import WSGIMiddleware


def application(database: str) -> object:
    """Placement's application on that database."""
    from oslo_config import cfg
    from placement import conf as placement_conf
    from placement import db_api, deploy
    from placement import wsgi as placement_wsgi

    conf = cfg.ConfigOpts()
    placement_conf.register_opts(conf)
    placement_wsgi._set_middleware_defaults()
    conf.set_override("connection", database, group="placement_database")
    conf([], project="placement", default_config_files=[], default_config_dirs=[])
    conf.set_override("auth_strategy", "noauth2", group="api")
    conf.set_override("sync_on_startup", True, group="placement_database")
    db_api.configure(conf)
    return deploy.loadapp(conf)


def main(database: str, port: str) -> None:
    """Serve until a signal."""
    workers = 1 if database.startswith("sqlite") else 10
    app = WSGIMiddleware(application(database), workers=workers)  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=int(port), log_level="warning", lifespan="off"))  # type: ignore[arg-type]
    print("ready", flush=True)
    server.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
