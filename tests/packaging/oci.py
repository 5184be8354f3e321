"""Reads an image of the OCI format from an archive, and holds every blob to its digest and size.

    oci.py ARCHIVE FOLDER    leaves the image's root in FOLDER
"""

import hashlib
import io
import json
import os
import sys
import tarfile


class Image:
    """The one image of an archive: its index, manifest, configuration and layers."""

    def __init__(self, archive):
        with tarfile.open(archive) as tar:
            self.entries = tar.getmembers()
            self.files = {entry.name: tar.extractfile(entry).read() for entry in self.entries if entry.isfile()}
        self.read = {"oci-layout", "index.json"}
        self.index = json.loads(self.files["index.json"])
        described, = self.index["manifests"]
        self.manifest = json.loads(self.blob(described))
        self.config = json.loads(self.blob(self.manifest["config"]))
        self.layers = [tarfile.open(fileobj=io.BytesIO(self.blob(layer))) for layer in self.manifest["layers"]]

    def blob(self, described):
        """The bytes that a descriptor is about."""
        algorithm, _, digest = described["digest"].partition(":")
        name = "blobs/%s/%s" % (algorithm, digest)
        content = self.files[name]
        assert hashlib.new(algorithm, content).hexdigest() == digest, "%s is not what its name says" % name
        assert len(content) == described["size"], "%s has %d bytes, not %d" % (name, len(content), described["size"])
        self.read.add(name)
        return content

    def unpack(self, folder):
        """What a container sees, owners left out where they cannot be given."""
        for layer in self.layers:
            layer.extractall(folder, numeric_owner=True, filter="fully_trusted")


if __name__ == "__main__":
    Image(sys.argv[1]).unpack(sys.argv[2])
