"""Writes one gzip image to one device with fuel-agent's own code: Manager.do_copyimage, md5 read-back included."""

import sys
from collections import namedtuple
from types import SimpleNamespace

from oslo_config import cfg

from fuel_agent import manager

Image = namedtuple("Image", "uri container target_device size md5 format")


class CopyOnly(manager.Manager):
    """A manager that has images and nothing else to do."""

    def __init__(self, image):
        self.driver = SimpleNamespace(image_scheme=SimpleNamespace(images=[image]))

    def move_files_to_their_places(self, remove_src=True):
        pass


def main():
    url, device, size, md5 = sys.argv[1:]
    cfg.CONF([], project="fuel-agent", default_config_files=[])
    # `raw` is not a filesystem, so it is not grown
    CopyOnly(Image(url, "gzip", device, int(size), md5, "raw")).do_copyimage()


if __name__ == "__main__":
    main()
