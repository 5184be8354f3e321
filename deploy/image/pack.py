#!/usr/bin/env python3
"""Packs the container image, with tar and JSON alone: an OCI image layout in one archive, of one layer.

    pack.py --decima FILE --architecture amd64 --version TEXT --out FILE.tar

The same input gives the same bytes: entries in the order of their names, all of one time, owners by number. The layer is
not compressed; registries' clients do that when they push.
"""

import argparse
import hashlib
import io
import json
import os
import sys
import tarfile

HERE = os.path.dirname(os.path.realpath(__file__))

# Mozilla's authorities, as Debian's package ca-certificates has them. Not /etc/ssl/certs, where a machine's own may have joined.
AUTHORITIES = "/usr/share/ca-certificates/mozilla"

# As Parca's image has it: `nobody`, by number, so that Kubernetes' runAsNonRoot can tell. Juju runs it as root all the same.
NOBODY = 65534
# Where Parca listens. Decima alone would listen on loopback, which nobody reaches in a container.
PORT = 7070

PASSWD = "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/data:/sbin/nologin\n"
GROUP = "root:x:0:\nnogroup:x:65534:\n"
# Without it, the C library would ask name servers before it looks into /etc/hosts.
NSSWITCH = "hosts: files dns\n"

LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def text(path):
    with open(path, "rb") as file:
        return file.read()


def authorities():
    """One file of all authorities, in the order of their names."""
    try:
        names = sorted(name for name in os.listdir(AUTHORITIES) if name.endswith(".crt"))
    except OSError as error:
        sys.exit("no authorities for the image: %s; install what Debian calls ca-certificates" % error)
    return b"".join(text(os.path.join(AUTHORITIES, name)).rstrip(b"\n") + b"\n" for name in names)


class Tar:
    """A tar whose bytes depend on what is put into it, and in which order, alone."""

    def __init__(self):
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode="w", format=tarfile.USTAR_FORMAT)

    def file(self, name, content, mode=0o644):
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), mode
        self.tar.addfile(entry, io.BytesIO(content))

    def folder(self, name, mode=0o755, owner=0):
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        entry.uid = entry.gid = owner
        self.tar.addfile(entry)

    def link(self, name, to):
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.linkname = tarfile.SYMTYPE, 0o777, to
        self.tar.addfile(entry)

    def close(self):
        self.tar.close()
        return self.bytes.getvalue()


def layer(decima):
    """All that the container sees. Pebble, which Juju brings, runs commands in /root; Decima writes to /data and /tmp."""
    tar = Tar()
    tar.folder("data", owner=NOBODY)
    tar.file("decima", text(decima), 0o755)
    tar.folder("etc")
    tar.file("etc/group", GROUP.encode())
    tar.file("etc/nsswitch.conf", NSSWITCH.encode())
    tar.file("etc/passwd", PASSWD.encode())
    tar.folder("etc/ssl")
    tar.folder("etc/ssl/certs")
    tar.file("etc/ssl/certs/ca-certificates.crt", authorities())
    tar.link("parca", "decima")
    tar.file("parca.yaml", text(os.path.join(HERE, "parca.yaml")))
    tar.folder("root", 0o700)
    tar.folder("tmp", 0o1777)
    return tar.close()


def as_json(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def described(media_type, blob):
    return {"mediaType": media_type, "digest": "sha256:" + hashlib.sha256(blob).hexdigest(), "size": len(blob)}


def image(decima, architecture, version):
    """The archive: an OCI image layout, of one image for one platform."""
    content = layer(decima)
    of_layer = described(LAYER, content)
    platform = {"architecture": architecture, "os": "linux"}
    config = as_json({
        **platform,
        "config": {
            # No entrypoint, as Parca's image has none: what runs Parca in Kubernetes says /parca first among its arguments.
            "Cmd": ["/decima", "--http-address=:%d" % PORT],
            "Env": ["PATH=/", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
            "ExposedPorts": {"%d/tcp" % PORT: {}},
            "Labels": {
                "org.opencontainers.image.title": "decima",
                "org.opencontainers.image.description": "Continuous profiling in one binary, a drop-in for Parca",
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.version": version,
            },
            "User": "%d:%d" % (NOBODY, NOBODY),
            "Volumes": {"/data": {}},
            "WorkingDir": "/",
        },
        "history": [{"created_by": "deploy/image/pack.py"}],
        "rootfs": {"type": "layers", "diff_ids": [of_layer["digest"]]},
    })
    manifest = as_json({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": described(CONFIG, config),
        "layers": [of_layer],
    })
    # the name under which tools list it
    named = {"annotations": {"org.opencontainers.image.ref.name": version}, "platform": platform}
    index = as_json({
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{**described(MANIFEST, manifest), **named}],
    })
    tar = Tar()
    tar.folder("blobs")
    tar.folder("blobs/sha256")
    for blob in sorted((config, content, manifest), key=lambda blob: hashlib.sha256(blob).digest()):
        tar.file("blobs/sha256/" + hashlib.sha256(blob).hexdigest(), blob)
    tar.file("index.json", index)
    tar.file("oci-layout", as_json({"imageLayoutVersion": "1.0.0"}))
    return tar.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decima", required=True, help="the program, static, built for that architecture")
    parser.add_argument("--architecture", required=True, help="as Go calls it: amd64, arm64")
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    packed = image(args.decima, args.architecture, args.version)
    with open(args.out + ".new", "wb") as file:
        file.write(packed)
    os.replace(args.out + ".new", args.out)


if __name__ == "__main__":
    main()
