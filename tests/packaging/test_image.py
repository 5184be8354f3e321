"""The container image: a sound OCI layout that holds the program and little else, and works in its own root."""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import unittest

import bare
from oci import Image

ARCHIVE = os.environ.get("DECIMA_IMAGE", os.path.join(bare.PROJECT, "target/image/dev/decima_%s.oci.tar" % bare.ARCHITECTURE))

NOBODY = 65534


class Layout(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.image = Image(ARCHIVE)
        layer, = cls.image.layers
        cls.layer = {entry.name: entry for entry in layer.getmembers()}
        cls.content = {name: layer.extractfile(entry).read() for name, entry in cls.layer.items() if entry.isfile()}

    def test_every_blob_is_what_its_name_says_and_none_is_left_over(self):
        self.assertEqual(self.image.files["oci-layout"], b'{"imageLayoutVersion":"1.0.0"}')
        self.assertEqual(set(self.image.files), self.image.read)
        self.assertEqual(self.image.index["schemaVersion"], 2)
        self.assertEqual(self.image.manifest["schemaVersion"], 2)
        kinds = [described["mediaType"].rpartition("oci.image.")[2] for described in
                 (self.image.index["manifests"][0], self.image.manifest["config"], *self.image.manifest["layers"])]
        self.assertEqual(kinds, ["manifest.v1+json", "config.v1+json", "layer.v1.tar"])

    def test_the_configuration_names_the_layer_and_the_platform(self):
        described, = self.image.manifest["layers"]
        self.assertEqual(self.image.config["rootfs"], {"type": "layers", "diff_ids": [described["digest"]]})
        platform = self.image.index["manifests"][0]["platform"]
        self.assertEqual(platform, {key: self.image.config[key] for key in ("architecture", "os")})
        self.assertEqual(platform["os"], "linux")

    def test_it_holds_the_program_under_both_names_authorities_and_no_shell(self):
        files = sorted(name for name, entry in self.layer.items() if not entry.isdir())
        self.assertEqual(files, [
            "decima", "etc/group", "etc/nsswitch.conf", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "parca", "parca.yaml",
        ])
        self.assertEqual((self.layer["parca"].issym(), self.layer["parca"].linkname), (True, "decima"))
        self.assertEqual([name for name, entry in self.layer.items() if entry.isfile() and entry.mode & 0o111], ["decima"])
        self.assertGreater(self.content["etc/ssl/certs/ca-certificates.crt"].count(b"-----BEGIN CERTIFICATE-----\n"), 100)

    def test_there_is_room_to_work_for_whom_it_runs_as(self):
        folders = {name: (entry.mode, entry.uid) for name, entry in self.layer.items() if entry.isdir() and not name.startswith("etc")}
        self.assertEqual(folders, {"data": (0o755, NOBODY), "root": (0o700, 0), "tmp": (0o1777, 0)})

    def test_it_is_started_as_parcas_image_is(self):
        config = dict(self.image.config["config"])
        labels = config.pop("Labels")
        self.assertEqual(labels["org.opencontainers.image.licenses"], "Apache-2.0")
        self.assertEqual(labels["org.opencontainers.image.title"], "decima")
        self.assertRegex(labels["org.opencontainers.image.version"], r"\A\d+\.\d+\.\d+\Z")
        self.assertEqual(config, {
            "Cmd": ["/decima", "--http-address=:7070"],
            "Env": ["PATH=/", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
            "ExposedPorts": {"7070/tcp": {}},
            "User": "%d:%d" % (NOBODY, NOBODY),
            "Volumes": {"/data": {}},
            "WorkingDir": "/",
        })

    def test_packed_again_it_is_the_same_to_the_byte(self):
        with tempfile.TemporaryDirectory() as folder:
            decima, out = os.path.join(folder, "decima"), os.path.join(folder, "again.tar")
            with open(decima, "wb") as file:
                file.write(self.content["decima"])
            subprocess.run([sys.executable, "-B", os.path.join(bare.PROJECT, "deploy/image/pack.py"), "--decima", decima, "--out", out,
                            "--architecture", self.image.config["architecture"],
                            "--version", self.image.config["config"]["Labels"]["org.opencontainers.image.version"]], check=True)
            hashes = []
            for path in (ARCHIVE, out):
                with open(path, "rb") as file:
                    hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
        self.assertEqual(*hashes)


class Running(unittest.TestCase):
    def test_in_its_own_root_it_serves_and_finds_hosts_by_file_and_by_name_server(self):
        seen = bare.run("bare_image.py", ARCHIVE)
        self.assertNotIn("/bin/sh", seen["files"])
        rc, version, err = seen["version"]
        self.assertEqual((rc, err), (0, ""))
        self.assertTrue(re.search(r"\d+\.\d+\.\d+", version), version)
        rc, out, err = seen["check"]
        self.assertEqual((rc, err), (0, ""), "the configuration in the image")
        self.assertIn("1 jobs", out)
        self.assertIn("<html", seen["screen"], seen["log"])
        self.assertEqual(seen["targets"].count("HEALTH_GOOD"), 2, seen["targets"] + seen["log"])
        self.assertIn("by-dns.example", seen["asked"])
        self.assertNotIn("by-hosts.example", seen["asked"])
        self.assertEqual(seen["stopped"], 0, seen["log"])


if __name__ == "__main__":
    unittest.main()
