"""Variants of images over HTTP: an operator's file under an id, a name and properties of a project's own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from tests.build.hosts import report
from tests.rig.client import COMPUTE, PROBE, compute, server_body
from tests.rig.in_process import READER, Fleet
from tests.stories.test_projects import Cloud

from pinfold.agent.wire import PROTOCOL
from pinfold.api.image.bodies import EARLIER_PATCH_TYPE, MAX_OPERATIONS, PATCH_TYPE
from pinfold.core.bounds import MAX_IMAGE_PROPERTIES, MAX_IMAGE_VARIANTS
from pinfold.core.host_features import HARDWARE
from pinfold.store.records import PROTOCOL_FACT

IMAGES = "/image/v2/images"
BYTES = b"\x00" * 64
"""What the image `probe` of every fleet is."""
PINNED = {"hw_cpu_policy": "dedicated"}


class Images:
    """The image API as one caller asks it."""

    def __init__(self, cloud: Cloud, token: str) -> None:
        self._http, self._headers = cloud.http, {"X-Auth-Token": token}

    def ask(self, method: str, path: str = "", body: Any = None, *, status: int) -> Any:
        answer = self._http.request(method, f"{IMAGES}{path}", json=body, headers=self._headers)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def upload(self, image: str, content: Any = BYTES, *, status: int = 204, kind: str = "application/octet-stream") -> str:
        answer = self._http.put(f"{IMAGES}/{image}/file", content=content, headers=self._headers | {"Content-Type": kind})
        assert answer.status_code == status, answer.text
        return answer.text

    def make(self, name: str = "v", **more: Any) -> str:
        """An active variant of `probe`; its id."""
        made = self.ask("POST", "", {"name": name, "disk_format": "raw", "container_format": "bare", **more}, status=201)
        self.upload(made["id"])
        return str(made["id"])

    def patch(self, image: str, *operations: Any, status: int = 200, kind: str = PATCH_TYPE) -> Any:
        answer = self._http.patch(f"{IMAGES}/{image}", json=list(operations), headers=self._headers | {"Content-Type": kind})
        assert answer.status_code == status, answer.text
        return answer.json() if status == 200 else answer.text

    def names(self, query: str = "") -> list[str]:
        return [image["name"] for image in self.ask("GET", query, status=200)["images"]]


@pytest.fixture(scope="module")
def standing_cloud(standing_fleet: Fleet) -> Iterator[Cloud]:
    standing_fleet.agents["c1"].hello(replace(report(), features=(HARDWARE,), facts=((PROTOCOL_FACT, str(PROTOCOL)),)))
    made = Cloud(standing_fleet)
    yield made
    made.http.close()


@pytest.fixture
def cloud(standing_cloud: Cloud) -> Iterator[Cloud]:
    yield standing_cloud
    for image in Images(standing_cloud, "a-").ask("GET", "", status=200)["images"]:
        if image["owner"] is not None:
            standing_cloud.fleet.services.fleet.image_variants.remove(image["id"], lambda variant: None)


@pytest.fixture
def red(cloud: Cloud) -> Images:
    """What a member of the project `red` asks."""
    return Images(cloud, "m-red")


def test_a_variant_is_queued_then_takes_the_bytes_of_an_operators_image(red: Images) -> None:
    made = red.ask("POST", "", {"name": "v", "disk_format": "raw", "container_format": "bare", "min_ram": 64, **PINNED}, status=201)
    assert (made["status"], made["visibility"], made["owner"], made["size"], made["protected"]) == ("queued", "private", "red", None, False)
    assert (made["min_ram"], made["hw_cpu_policy"]) == (64, "dedicated")
    red.ask("GET", f"/{made['id']}/file", status=204)
    said = red.upload(made["id"], b"x" * 64, status=400)
    assert "the 64 bytes are no image of the operator's in this format" in said and "still queued" in said
    assert red.ask("GET", f"/{made['id']}", status=200)["status"] == "queued"
    red.upload(made["id"])
    shown = red.ask("GET", f"/{made['id']}", status=200)
    assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", 64, 64)
    assert "has its file already" in red.upload(made["id"], status=409)
    red.ask("DELETE", f"/{made['id']}", status=204)
    red.ask("GET", f"/{made['id']}", status=404)
    red.ask("DELETE", f"/{made['id']}", status=404)


def test_only_whole_files_of_the_same_format_are_taken(red: Images, cloud: Cloud) -> None:
    big = bytes(range(256)) * (3 << 12)  # 3 MiB
    (cloud.fleet.images / "big.raw").write_bytes(big)
    try:
        image = red.ask("POST", "", {"name": "v"}, status=201)["id"]
        for wrong in (b"", BYTES[:-1], BYTES + b"\x00", big[:-1], big[:-1] + b"x", b"x" + big[1:]):
            assert "are no image of the operator's" in red.upload(image, wrong, status=400)
        assert "larger than every image of the operator's in this format" in red.upload(image, big + b"x", status=413)
        other = red.ask("POST", "", {"name": "v", "disk_format": "qcow2"}, status=201)["id"]
        red.upload(other, BYTES, status=413)
        assert "must be application/octet-stream" in red.upload(image, status=415, kind="application/json")
        red.upload(image, big)
        assert red.ask("GET", f"/{image}", status=200)["size"] == len(big)
    finally:
        (cloud.fleet.images / "big.raw").unlink()
    gone = red.ask("GET", f"/{image}", status=200)
    assert (gone["status"], gone["size"]) == ("deactivated", None)
    red.ask("GET", f"/{image}/file", status=403)
    body = {"server": server_body("vm", "tiny", imageRef=image)}
    said = cloud.ask("m-red", "POST", "/servers", body, status=400)["badRequest"]["message"]
    assert said.endswith("is deactivated: the operator's image big, whose file it has, is no longer there in the format raw.")


def test_a_server_has_the_properties_of_the_variant_and_the_file_of_its_base(red: Images, cloud: Cloud) -> None:
    fleet = cloud.fleet
    image = red.make("pinned", img_hide_hypervisor_id="true", **PINNED)
    server = cloud.ask("m-red", "POST", "/servers", {"server": server_body("vm", "tiny", imageRef=image)}, status=202)["server"]["id"]
    order = fleet.agents["c1"].order(server)
    assert order["image"] == "probe", "the agent finds the file by the name of the operator's image"
    assert (order["request"]["cpu_policy"], order["request"]["hardware"]["hidden"]) == ("dedicated", True)
    fleet.obey()
    assert cloud.ask("m-red", "GET", f"/servers/{server}", status=200)["server"]["image"]["id"] == image
    red.ask("DELETE", f"/{image}", status=204)
    shown = cloud.ask("m-red", "GET", f"/servers/{server}", status=200)["server"]
    assert (shown["status"], shown["image"]["id"]) == ("ACTIVE", image), "the server keeps what it was made with"
    cloud.ask("m-red", "POST", f"/servers/{server}/action", {"reboot": {"type": "HARD"}}, status=202)
    fleet.obey()
    assert cloud.ask("m-red", "GET", f"/servers/{server}", status=200)["server"]["status"] == "ACTIVE"
    gone = cloud.ask("m-red", "POST", f"/servers/{server}/action", {"rebuild": {"imageRef": image}}, status=400)
    assert gone["badRequest"]["message"] == f"Image {image} could not be found."
    other = red.make("other", hw_pmu="false", **PINNED)
    cloud.ask("m-red", "POST", f"/servers/{server}/action", {"rebuild": {"imageRef": other}}, status=202)
    order = fleet.agents["c1"].order(server)
    assert (order["image"], order["request"]["hardware"]["performance_unit"]) == ("probe", False)
    fits = fleet.http.post("/v1/fits", json={"flavor": "tiny", "image": "other"})
    assert fits.status_code == 200 and fits.json()["candidates"][0]["fit"]["cells"]
    red.make("other")
    assert "2 images are named other; name one by its id." in fleet.http.post("/v1/fits", json={"flavor": "tiny", "image": "other"}).text
    cloud.ask("m-red", "DELETE", f"/servers/{server}", status=204)
    fleet.obey()


def test_a_key_that_promises_what_no_server_gets_is_refused_as_in_a_property_file(red: Images, cloud: Cloud) -> None:
    image = red.make(hw_disk_bus="ide")
    said = cloud.ask("m-red", "POST", "/servers", {"server": server_body("vm", "tiny", imageRef=image)}, status=400)
    assert "the image's hw_disk_bus is 'ide', but a server gets no" in said["badRequest"]["message"]
    queued = red.ask("POST", "", {"name": "v"}, status=201)["id"]
    said = cloud.ask("m-red", "POST", "/servers", {"server": server_body("vm", "tiny", imageRef=queued)}, status=400)
    assert "is queued: it has no file yet" in said["badRequest"]["message"]


def test_others_see_public_variants_alone_and_change_none(red: Images, cloud: Cloud) -> None:
    blue, admin, reader = Images(cloud, "m-blue"), Images(cloud, "a-ops"), Images(cloud, "r-red")
    private, public = red.make("private"), admin.make("public", visibility="public")
    assert red.names() == ["probe", "private", "public"]
    assert reader.names() == red.names() == admin.names()
    assert blue.names() == ["probe", "public"]
    for method, path in (("GET", ""), ("GET", "/file"), ("GET", "/members"), ("DELETE", ""), ("PUT", "/tags/a"), ("POST", "/members")):
        blue.ask(method, f"/{private}{path}", {} if method == "POST" else None, status=404)
    blue.upload(private, status=404)
    blue.patch(private, {"op": "replace", "path": "/name", "value": "x"}, status=404)
    assert "could not be found" in str(
        cloud.ask("m-blue", "POST", "/servers", {"server": server_body("vm", "tiny", imageRef=private)}, status=400)
    )
    for caller in (blue, red):
        caller.ask("DELETE", f"/{public}", status=403)
        assert "belongs to another project" in caller.patch(public, {"op": "remove", "path": "/a"}, status=403)
    reader.ask("POST", "", {"name": "x"}, status=403)
    reader.ask("DELETE", f"/{private}", status=403)
    for refused in ({"visibility": "public"}, {"owner": "blue"}, {"pinfold:template": "t"}, {"id": "x"}, {"status": "active"}):
        red.ask("POST", "", {"name": "x", **refused}, status=403)
    assert "Only an admin makes an image public" in red.patch(
        private, {"op": "replace", "path": "/visibility", "value": "public"}, status=403
    )
    assert admin.patch(private, {"op": "replace", "path": "/visibility", "value": "public"})["visibility"] == "public"
    assert blue.names() == ["probe", "private", "public"]
    given = admin.ask("POST", "", {"name": "given", "owner": "blue", "pinfold:memory_access": "shared"}, status=201)
    assert given["owner"] == "blue" and "given" in blue.names()


def test_operators_images_stay_as_they_are(red: Images, cloud: Cloud) -> None:
    for caller in (red, Images(cloud, "a-ops")):
        for said in (
            caller.ask("DELETE", f"/{PROBE}", status=403)["error"]["message"],
            caller.upload(PROBE, status=403),
            caller.patch(PROBE, {"op": "add", "path": "/a", "value": "b"}, status=403),
        ):
            assert "Image probe is the operator's" in said
    said = red.ask("PUT", f"/{PROBE}/tags/a", status=501)["error"]["message"]
    assert said == "tags is no part of an image here; an image has a file, a name and properties."


def test_a_patch_changes_properties_and_some_fields(red: Images) -> None:
    image = red.make(a="1", b="2")
    changed = red.patch(
        image,
        {"op": "add", "path": "/c~1d", "value": "3"},
        {"op": "replace", "path": "/a", "value": "4"},
        {"op": "remove", "path": "/b"},
        {"op": "replace", "path": "/name", "value": "new"},
        {"op": "replace", "path": "/min_disk", "value": 2},
        {"op": "replace", "path": "/protected", "value": True},
    )
    assert (changed["a"], changed["c/d"], changed["name"], changed["min_disk"], changed["protected"]) == ("4", "3", "new", 2, True)
    assert "b" not in changed and changed == red.ask("GET", f"/{image}", status=200)
    assert "is protected and cannot be deleted" in red.ask("DELETE", f"/{image}", status=403)["error"]["message"]
    for status, operation, words in (
        (409, {"op": "replace", "path": "/none", "value": "x"}, "Property none does not exist."),
        (409, {"op": "remove", "path": "/none"}, "Property none does not exist."),
        (403, {"op": "replace", "path": "/status", "value": "active"}, "Attribute 'status' is read-only"),
        (403, {"op": "remove", "path": "/name"}, "Attribute 'name' cannot be removed."),
        (400, {"op": "add", "path": "/a", "value": 1}, "a is 1; a text of at most 255 characters is allowed"),
        (400, {"op": "add", "path": "/a"}, "a is missing; a text of at most 255 characters is allowed"),
        (400, {"op": "add", "path": "/a", "value": "x" * 256}, "a text of at most 255 characters is allowed"),
        (400, {"op": "replace", "path": "/min_ram", "value": True}, "min_ram is True; a whole number from 0 to"),
        (400, {"op": "replace", "path": "/visibility", "value": "shared"}, "visibility is 'shared'; private and public are allowed"),
        (400, {"op": "add", "path": "/a/b", "value": "x"}, "names no field and no property of an image"),
        (400, {"op": "move", "path": "/a", "from": "/b"}, "the request body is no JSON patch"),
    ):
        assert words in red.patch(image, {"op": "add", "path": "/lost", "value": "x"}, operation, status=status), operation
    assert "lost" not in red.ask("GET", f"/{image}", status=200), "a patch is made as a whole or not at all"
    more = [{"op": "add", "path": f"/p{number}", "value": ""} for number in range(MAX_IMAGE_PROPERTIES)]
    assert f"at most {MAX_IMAGE_PROPERTIES} are allowed" in red.patch(image, *more, status=400)
    assert f"at most {MAX_OPERATIONS} are allowed" in red.patch(image, *more, *more, *more, status=400)
    red.patch(image, more[0], status=415, kind="application/json")
    assert red.patch(image, {"replace": "/name", "value": "earlier"}, {"remove": "/a"}, kind=EARLIER_PATCH_TYPE)["name"] == "earlier"
    for operation in ({"value": "x"}, {"add": "/a", "remove": "/b", "value": "x"}, {"op": "remove", "path": "/c~1d"}):
        assert "is no JSON patch" in red.patch(image, operation, status=400, kind=EARLIER_PATCH_TYPE)
    red.patch(image, {"op": "replace", "path": "/protected", "value": False})
    red.ask("DELETE", f"/{image}", status=204)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"visibility": "shared"}, "Input should be 'private' or 'public'"),
        ({"disk_format": "vmdk"}, "Input should be 'raw', 'qcow2' or 'aki'"),
        ({"container_format": "docker"}, "Input should be 'bare'"),
        ({"hw_cpu_policy": 1}, "Input should be a valid string"),
        ({"a": "x" * 256}, "at most 255 characters"),
        ({"a" * 256: "x"}, "must have a name of 1 to 255 characters"),
        ({f"p{number}": "x" for number in range(MAX_IMAGE_PROPERTIES + 1)}, f"at most {MAX_IMAGE_PROPERTIES} are allowed"),
        ({"min_disk": -1}, "greater than or equal to 0"),
        ({"tags": ["a"]}, "at most 0 items"),
    ],
)
def test_a_body_that_makes_no_image_is_refused_in_a_sentence(red: Images, body: dict[str, Any], words: str) -> None:
    assert words in red.ask("POST", "", {"name": "x", **body}, status=400)["error"]["message"]
    assert red.names() == ["probe"]


def test_listings_are_filtered(red: Images) -> None:
    red.make("b", os_distro="debian", hw_pmu="false")
    red.ask("POST", "", {"name": "a", "protected": True}, status=201)
    for query, due in (
        ("", ["probe", "a", "b"]),
        ("?name=a", ["a"]),
        ("?status=queued", ["a"]),
        ("?status=active", ["probe", "b"]),
        ("?visibility=private", ["a", "b"]),
        ("?visibility=public", ["probe"]),
        ("?visibility=all", ["probe", "a", "b"]),
        ("?owner=red", ["a", "b"]),
        ("?protected=true", ["probe", "a"]),
        ("?limit=2", ["probe", "a"]),
        ("?tag=golden", []),
        ("?os_hidden=true", []),
        ("?os_hidden=false", ["probe", "a", "b"]),
        ("?os_distro=debian", ["b"]),
        ("?os_distro=in:debian,fedora&hw_pmu=false", ["b"]),
        ("?os_distro=fedora", []),
        ("?min_disk=0&container_format=bare", ["probe", "a", "b"]),
        ("?size_min=64", ["probe", "b"]),
        ("?size_max=63", ["a"]),
        ("?member_status=all", ["probe", "a", "b"]),
        ("?sort=name:asc", ["a", "b", "probe"]),
        ("?sort=name", ["probe", "b", "a"]),
        ("?sort=size:asc,name:asc", ["a", "b", "probe"]),
        ("?sort=status,name:desc", ["a", "probe", "b"]),
        ("?sort_key=name&sort_dir=asc&limit=2", ["a", "b"]),
        ("?sort_key=status&sort_key=name&sort_dir=asc", ["b", "probe", "a"]),
    ):
        assert red.names(query) == due, query
    assert "sort has 'colour:asc'" in red.ask("GET", "?sort=colour:asc", status=400)["error"]["message"]
    following = red.ask("GET", "?sort=name:asc&limit=2", status=200)["next"]
    assert red.names(following.removeprefix("/v2/images")) == ["probe"]
    following = red.ask("GET", "?limit=2", status=200)["next"]
    assert red.names(following.removeprefix("/v2/images")) == ["b"]
    filtered = red.ask("GET", "?visibility=private&owner=red&limit=1", status=200)
    assert filtered["first"] == "/v2/images?visibility=private&owner=red&limit=1"
    last = red.ask("GET", filtered["next"].removeprefix("/v2/images"), status=200)
    assert [image["name"] for image in last["images"]] == ["b"]
    assert "next" not in last, "the next pages have the filters too"


def test_a_project_has_a_bounded_number_of_variants(red: Images, cloud: Cloud) -> None:
    for number in range(MAX_IMAGE_VARIANTS):
        red.ask("POST", "", {"name": f"v{number}"}, status=201)
    assert f"the project has {MAX_IMAGE_VARIANTS}, which is the most" in red.ask("POST", "", {}, status=403)["error"]["message"]
    Images(cloud, "m-blue").ask("POST", "", {}, status=201)


def test_novas_earlier_routes_show_variants_and_delete_them(red: Images, cloud: Cloud) -> None:
    image, queued = red.make("v", a="1"), red.ask("POST", "", {"name": "q"}, status=201)["id"]

    def ask(token: str, method: str, path: str, *, status: int, version: str = "2.1") -> Any:
        return cloud.ask(token, method, f"/images{path}", {} if method == "PUT" else None, status=status, version=version)

    assert [row["name"] for row in ask("m-red", "GET", "", status=200)["images"]] == ["probe", "q", "v"]
    assert [row["name"] for row in ask("m-red", "GET", "/detail?status=SAVING", status=200)["images"]] == ["q"]
    assert [row["name"] for row in ask("m-blue", "GET", "/detail", status=200)["images"]] == ["probe"]
    shown = ask("m-red", "GET", f"/{image}", status=200)["image"]
    assert (shown["status"], shown["progress"], shown["metadata"]) == ("ACTIVE", 100, {"a": "1"})
    assert ask("m-red", "GET", f"/{queued}", status=200)["image"]["progress"] == 25
    ask("m-blue", "DELETE", f"/{image}", status=404)
    assert "openstack image set" in ask("m-red", "PUT", f"/{image}/metadata", status=501)["notImplemented"]["message"]
    ask("m-red", "DELETE", f"/{image}", status=204)
    ask("m-red", "DELETE", f"/{PROBE}", status=403)
    ask("m-red", "DELETE", f"/{queued}", status=404, version="2.36")


def test_accounts_of_the_accounts_file_share_their_variants(cloud: Cloud) -> None:
    fleet = cloud.fleet
    made = fleet.http.post(IMAGES, json={"name": "v"}).json()
    assert made["owner"] == "pinfold"
    assert [image["name"] for image in fleet.http.get(IMAGES, auth=READER).json()["images"]] == ["probe", "v"]
    assert fleet.http.delete(f"{IMAGES}/{made['id']}", auth=READER).status_code == 403
    assert fleet.http.get(f"{IMAGES}/{uuid.uuid4()}").status_code == 404
    assert fleet.http.get(f"{COMPUTE}/servers?image={made['id']}", headers=compute()).json()["servers"] == []
