"""The packed charm: what is in it, what was derived, and that its program needs nothing but itself."""

import hashlib
import os
import re
import stat
import struct
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree
import zipfile

import yaml

import bare

CHARM = os.environ.get("DECIMA_CHARM", os.path.join(bare.PROJECT, "target/charm/parca-k8s_%s.charm" % bare.ARCHITECTURE))
SOURCE = os.path.join(bare.PROJECT, "charm")

DISPATCH_MAX = 12_000_000


def read(*path):
    with open(os.path.join(bare.PROJECT, *path), "rb") as file:
        return file.read()


class Packed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with zipfile.ZipFile(CHARM) as archive:
            cls.broken = archive.testzip()
            cls.entries = archive.infolist()
            cls.files = {entry.filename: archive.read(entry) for entry in cls.entries}
        cls.source = yaml.safe_load(read("charm/charmcraft.yaml"))

    def derived(self, name):
        return yaml.safe_load(self.files[name])

    def test_it_is_a_sound_zip_of_what_juju_and_charmhub_read(self):
        self.assertIsNone(self.broken)
        self.assertEqual(sorted(self.files), [
            "LICENSE", "README.md", "actions.yaml", "config.yaml", "dispatch", "icon.svg", "manifest.yaml", "metadata.yaml", "version",
        ])
        self.assertEqual([entry.filename for entry in self.entries], sorted(self.files))

    def test_dispatch_alone_may_be_run_and_nothing_be_written_by_others(self):
        for entry in self.entries:
            mode = entry.external_attr >> 16
            self.assertEqual(entry.create_system, 3, entry.filename)
            self.assertTrue(stat.S_ISREG(mode), entry.filename)
            self.assertEqual(stat.S_IMODE(mode), 0o755 if entry.filename == "dispatch" else 0o644, entry.filename)

    def test_the_metadata_is_what_charmcraft_yaml_says(self):
        metadata = self.derived("metadata.yaml")
        taken = ["name", "summary", "description", "assumes", "containers", "resources", "storage", "peers", "requires", "provides"]
        for key in taken:
            self.assertEqual(metadata.pop(key), self.source[key], key)
        self.assertEqual(metadata, {"display-name": self.source["title"], "website": self.source["links"]["website"]})

    def test_config_and_actions_are_what_charmcraft_yaml_says(self):
        self.assertEqual(self.derived("config.yaml"), self.source["config"])
        self.assertEqual(self.derived("actions.yaml"), self.source["actions"])

    def test_every_base_of_its_architecture_is_in_the_manifest(self):
        architecture = CHARM.rpartition("_")[2].partition(".")[0]
        bases = [{"name": "ubuntu", "channel": channel, "architectures": [architecture]} for channel in ("22.04", "24.04", "26.04")]
        self.assertEqual(self.derived("manifest.yaml"), {"bases": bases})
        self.assertEqual([platform for platform in self.source["platforms"] if platform.endswith(":" + architecture)],
                         ["ubuntu@%s:%s" % (base["channel"], architecture) for base in bases])

    def test_what_operators_have_keeps_its_name(self):
        metadata = self.derived("metadata.yaml")
        self.assertEqual(metadata["name"], "parca-k8s")
        self.assertEqual(list(metadata["containers"]), ["parca"])
        self.assertEqual({name: resource["type"] for name, resource in metadata["resources"].items()}, {"parca-image": "oci-image"})
        self.assertEqual({name: storage["type"] for name, storage in metadata["storage"].items()}, {"profiles": "filesystem"})
        self.assertIn("istio-ingress", metadata["requires"])

    def test_what_people_read_is_the_projects_own(self):
        self.assertEqual(self.files["README.md"], read("charm/README.md"))
        self.assertEqual(self.files["icon.svg"], read("charm/icon.svg"))
        self.assertEqual(self.files["LICENSE"], read("LICENSE"))
        icon = xml.etree.ElementTree.fromstring(self.files["icon.svg"])
        self.assertEqual((icon.get("width"), icon.get("height")), ("100", "100"), "Charmhub wants a square of 100")
        self.assertRegex(self.files["version"].decode(), r"\A\d+\.\d+\.\d+(-g[0-9a-f]{12}(-modified)?)?\n\Z")

    def test_the_terraform_module_names_the_endpoints_that_there_are(self):
        outputs = read("charm/terraform/outputs.tf").decode()
        for role in ("provides", "requires"):
            block = re.search(r'^output "%s" \{.*?^\}$' % role, outputs, re.M | re.S).group()
            named = dict(re.findall(r'^    (\w+) += "([^"]+)"$', block, re.M))
            self.assertEqual(sorted(named.values()), sorted(self.source[role]))
            self.assertEqual(list(named), [endpoint.replace("-", "_") for endpoint in named.values()])

    def test_the_guide_lists_every_option_with_its_type_and_default(self):
        table = re.findall(r"^\| `([a-z-]+)` \| (\w+), (.+?) \|", read("docs/charm/deploy.md").decode(), re.M)
        shown = {"": "empty", False: "`false`"}
        options = self.source["config"]["options"]
        self.assertEqual(table, [(name, option["type"], shown.get(option["default"], "`%s`" % option["default"]))
                                 for name, option in options.items()])

    def test_packed_again_it_is_the_same_to_the_byte(self):
        with tempfile.TemporaryDirectory() as folder:
            dispatch, out = os.path.join(folder, "dispatch"), os.path.join(folder, "again.charm")
            with open(dispatch, "wb") as file:
                file.write(self.files["dispatch"])
            architecture = self.derived("manifest.yaml")["bases"][0]["architectures"][0]
            self.pack("--dispatch", dispatch, "--architecture", architecture, "--out", out,
                      "--version", self.files["version"].decode().strip())
            hashes = [hashlib.sha256(read(path)).hexdigest() for path in (CHARM, out)]
        self.assertEqual(*hashes)

    def test_an_architecture_without_a_platform_is_refused_by_name(self):
        with tempfile.TemporaryDirectory() as folder, self.assertRaises(subprocess.CalledProcessError) as refused:
            self.pack("--dispatch", CHARM, "--architecture", "s390x", "--version", "1", "--out", os.path.join(folder, "x.charm"))
        self.assertEqual(refused.exception.stderr, "charmcraft.yaml: platforms: none is for s390x\n")

    def pack(self, *arguments):
        command = [os.sys.executable, "-B", os.path.join(SOURCE, "pack.py"), *arguments]
        subprocess.run(command, check=True, capture_output=True, text=True)


class Dispatch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with zipfile.ZipFile(CHARM) as archive:
            cls.program = archive.read("dispatch")

    def test_it_is_under_twelve_megabytes(self):
        self.assertLess(len(self.program), DISPATCH_MAX)
        print("dispatch: %.1f MB" % (len(self.program) / 1e6))

    def test_it_tells_no_path_of_the_machine_that_built_it(self):
        self.assertNotIn(b"/registry/src/", self.program)
        self.assertNotIn(bare.PROJECT.encode() + b"/", self.program)

    def test_it_is_static(self):
        self.assertEqual(dynamic(self.program), (None, []))

    def test_in_a_root_without_anything_else_it_finds_its_name_in_etc_hosts(self):
        done = bare.run("bare_dispatch.py", CHARM, "hosts")
        self.check(done)
        self.assertEqual(done["asked"], [])

    def test_in_a_root_without_anything_else_it_finds_its_name_by_dns(self):
        done = bare.run("bare_dispatch.py", CHARM, "dns")
        self.check(done)
        self.assertEqual(done["asked"], ["parca-k8s-0.svc.example", "3.2.1.10.in-addr.arpa"])

    def check(self, done):
        self.assertEqual(done["files"], ["/dispatch", "/etc/hosts", "/etc/resolv.conf"])
        self.assertEqual((done["rc"], done["stderr"]), (0, ""))
        self.assertEqual(done["results"]["direct-http-url"], "http://%s:7994" % done["fqdn"])
        self.assertIn("-----BEGIN CERTIFICATE REQUEST-----", done["request"])
        self.assertEqual(done["status"]["message"], "Waiting for containers: ['parca']...")


def dynamic(program):
    """Interpreter and needed libraries (as places in its table of names) of an ELF file, from its program headers."""
    assert program[:5] == b"\x7fELF\x02", "no ELF file of 64 bits"
    start, = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    interpreter, needed = None, []
    for at in range(start, start + count * size, size):
        kind, _, offset, _, _, length = struct.unpack_from("<II4Q", program, at)
        if kind == 3:
            interpreter = program[offset:offset + length].rstrip(b"\0").decode()
        if kind == 2:
            entries = [struct.unpack_from("<qQ", program, entry) for entry in range(offset, offset + length, 16)]
            needed = [value for tag, value in entries if tag == 1]
    return interpreter, needed


if __name__ == "__main__":
    unittest.main()
