"""Stray files in the image directory: each stops its own image alone, and nobody is told where the directory is."""

from __future__ import annotations

import os
from typing import Any

import pytest
from tests.rig.in_process import Fleet


def _mess(fleet: Fleet) -> None:
    (fleet.images / "x.raw").write_bytes(b"")
    (fleet.images / "x.qcow2").write_bytes(b"")
    (fleet.images / "bad.raw").write_bytes(b"")
    (fleet.images / "bad.toml").write_text("= = =\n")
    os.mkfifo(fleet.images / "pipe.raw")
    (fleet.images / "out.raw").symlink_to("/etc/passwd")


@pytest.mark.timeout(120)
def test_every_create_and_listing_goes_on_and_no_answer_tells_a_path(fleet: Fleet) -> None:
    fleet.host("c1")
    fleet.flavor("pin", hw_cpu_policy="dedicated")
    before: dict[str, Any] = fleet.http.get("/image/v2/images").json()
    _mess(fleet)
    after = fleet.http.get("/image/v2/images")
    assert (after.status_code, after.json()) == (200, before)
    probe = before["images"][0]["id"]
    server = fleet.create("vm", "pin", imageRef=probe)
    fleet.obey()
    assert fleet.status(server) == "ACTIVE"
    assert fleet.http.post("/v1/fits", json={"flavor": "pin", "image": "probe"}).status_code == 200
    assert fleet.agents["c1"].ask("GET", "/images/probe").status_code == 200
    for name in ("x", "bad", "pipe", "out"):
        asked = [fleet.http.post("/v1/fits", json={"flavor": "pin", "image": name}), fleet.agents["c1"].ask("GET", f"/images/{name}")]
        asked.append(fleet.http.get(f"/image/v2/images?name={name}"))
        assert [answer.status_code for answer in asked] == [400, 404, 200]
        assert asked[2].json()["images"] == []
        assert all(str(fleet.images) not in answer.text for answer in asked)


def test_an_image_directory_that_is_none_answers_503_without_its_path(fleet: Fleet) -> None:
    fleet.images.rename(fleet.images.with_name("away"))
    fleet.images.symlink_to(fleet.images.name)
    answer = fleet.http.get("/image/v2/images")
    assert answer.status_code == 503 and "the image directory cannot be read" in answer.text
    assert str(fleet.images) not in answer.text
