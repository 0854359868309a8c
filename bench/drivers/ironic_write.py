"""Streams one raw image to one device with ironic-python-agent's own code, then flushes as the agent does at its end."""

import os
import sys

from oslo_config import cfg

from ironic_python_agent import config  # noqa: F401  registers the options
from ironic_python_agent.extensions import standby


def main():
    url, device, sha256 = sys.argv[1:]
    cfg.CONF([], project="ironic-python-agent", default_config_files=[])
    image = {
        "id": "image",
        "urls": [url],
        "os_hash_algo": "sha256",
        "os_hash_value": sha256,
        "disk_format": "raw",
        "image_type": "whole-disk-image",
    }
    extension = standby.StandbyExtension()
    # set by the command that calls the method in the agent
    extension.partition_uuids = {}
    extension._stream_raw_image_onto_device(image, device)
    descriptor = os.open(device, os.O_RDWR)
    os.fsync(descriptor)
    os.close(descriptor)


if __name__ == "__main__":
    main()
