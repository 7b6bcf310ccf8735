"""The image of a config drive, read back by the names of Joliet and of Rock Ridge."""

from __future__ import annotations

import io

import pycdlib

from pinfold.agent.config_drive import iso_image

FILES = (("openstack/2018-08-27/user_data", b"x" * 65_535), ("openstack/latest/meta_data.json", b"{}"), ("openstack/latest/user_data", b""))


def test_every_file_is_read_back_and_the_label_is_the_one_that_guests_look_for() -> None:
    image = iso_image(FILES)
    assert image[32808:32840].rstrip() == b"config-2"
    opened = pycdlib.PyCdlib()
    opened.open_fp(io.BytesIO(image))
    for path, content in FILES:
        for names in ({"joliet_path": f"/{path}"}, {"rr_path": f"/{path}"}):
            read = io.BytesIO()
            opened.get_file_from_iso_fp(read, **names)
            assert read.getvalue() == content, names
    opened.close()
