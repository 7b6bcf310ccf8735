"""A real Prometheus that scrapes one endpoint each second, and promtool. Both are of Debian's package `prometheus`."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from monitoring.dashboards import Panel
from tests.ports import free_port
from tests.real.patience import until

from pinfold.watch.listener import CONTENT_TYPE, METRICS, Page, serving

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")), reason="prometheus and promtool are not installed"
)


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """A running Prometheus."""

    http: httpx.Client

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series of a query now. A query that cannot be parsed or run fails the test."""
        answer = self.http.get("/api/v1/query", params={"query": query})
        assert answer.status_code == 200, f"{query}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def until_all_yield(self, panels: Iterable[Panel], *, variable: str, without: Iterable[str] = ()) -> None:
        """Wait until the query of each panel has had a series, but for the panels of those titles, whose queries must only run."""
        left = {panel.title: _filled(panel.query, variable) for panel in panels}
        for title in without:
            self.ask(left.pop(title))

        def ask_those_left() -> bool:
            for title, query in tuple(left.items()):
                if self.ask(query):
                    del left[title]
            return not left

        try:
            until(ask_those_left, "every query has had a series", pause=0.5)
        except AssertionError as error:
            raise AssertionError(f"no series: {json.dumps(left, indent=1)}") from error


def _filled(query: str, variable: str) -> str:
    """The query as Grafana sends it, with all values of the dashboard's variable."""
    filled = query.replace("$__rate_interval", "15s").replace(f"${variable}", ".*")
    assert "$" not in filled, query
    return filled


@contextmanager
def scraping(folder: Path, metrics: Callable[[], bytes], job: str) -> Iterator[Prometheus]:
    """A Prometheus on loopback with its data in `folder`, which scrapes what `metrics` returns, until the block ends."""
    page = Page(content_type=CONTENT_TYPE, render=lambda _: metrics())
    with serving(("127.0.0.1", 0), {METRICS: page}) as url, _scraping(folder, httpx.URL(url).netloc.decode(), job) as prometheus:
        yield prometheus


@contextmanager
def _scraping(folder: Path, target: str, job: str) -> Iterator[Prometheus]:
    port = free_port()
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [{"job_name": job, "static_configs": [{"targets": [target]}]}]}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    line = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(line, stdout=log, stderr=log) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
                until(lambda: process.poll() is None and _ready(http), "Prometheus is ready")
                yield Prometheus(http=http)
        finally:
            process.kill()


def _ready(http: httpx.Client) -> bool:
    try:
        return http.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def promtool(*words: str) -> str:
    """What promtool prints. The test fails if promtool does."""
    done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
