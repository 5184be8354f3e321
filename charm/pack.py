#!/usr/bin/env python3
"""Packs the charm without charmcraft: everything that Juju reads is derived from charmcraft.yaml, which lies beside this program.

    pack.py --dispatch FILE --architecture amd64 --version TEXT --out FILE.charm

A .charm is a zip of what Juju unpacks. The same input gives the same bytes: entries in the order of their names, all of one
time and owner, only the modes that they need.
"""

import argparse
import os
import sys
import zipfile

import yaml

HERE = os.path.dirname(os.path.realpath(__file__))

# metadata.yaml: what charmcraft takes over as it is, in this order ...
SAME = ("name", "summary", "description", "assumes", "containers", "resources", "storage", "peers", "requires", "provides")
# ... and what Juju and Charmhub know by another name.
LINKS = {"documentation": "docs", "issues": "issues", "source": "source", "website": "website", "contact": "maintainers"}
# What becomes another file, or is charmcraft's own.
ELSEWHERE = ("type", "title", "links", "platforms", "parts", "config", "actions")

# The earliest that a zip can tell.
WHEN = (1980, 1, 1, 0, 0, 0)
UNIX = 3


class Wrong(Exception):
    """What is wrong with charmcraft.yaml, and where."""


class Readable(yaml.SafeDumper):
    """YAML in which a text of several lines stays one."""


Readable.add_representer(str, lambda dumper, value: dumper.represent_scalar(
    "tag:yaml.org,2002:str", value, style="|" if "\n" in value else None))


def metadata(charm):
    """metadata.yaml: what the charm is, and what it can be related to."""
    unknown = [key for key in charm if key not in SAME + ELSEWHERE]
    if unknown:
        raise Wrong("key %s: nothing is derived from it; tell pack.py what becomes of it" % ", ".join(unknown))
    if charm.get("type") != "charm":
        raise Wrong("type: not `charm`, but %r" % charm.get("type"))
    known = {"name": charm["name"], "display-name": charm["title"]}
    known.update((key, charm[key]) for key in SAME if key in charm)
    for link, where in (charm.get("links") or {}).items():
        if link not in LINKS:
            raise Wrong("links.%s: there are %s" % (link, ", ".join(LINKS)))
        known[LINKS[link]] = where
    return known


def manifest(charm, architecture):
    """manifest.yaml: the bases on which one architecture runs. A platform is BASE@CHANNEL:ARCHITECTURE."""
    bases = []
    for platform in charm["platforms"]:
        base, _, built_for = platform.partition(":")
        name, _, channel = base.partition("@")
        if not (name and channel and built_for):
            raise Wrong("platforms: %r is not BASE@CHANNEL:ARCHITECTURE" % platform)
        if built_for == architecture:
            bases.append({"name": name, "channel": channel, "architectures": [architecture]})
    if not bases:
        raise Wrong("platforms: none is for %s" % architecture)
    return {"bases": bases}


def text(path):
    with open(path, "rb") as file:
        return file.read()


def entries(dispatch, architecture, version):
    """Everything in the charm: name -> (bytes, mode)."""
    charm = yaml.safe_load(text(os.path.join(HERE, "charmcraft.yaml")))
    derived = {
        "metadata.yaml": metadata(charm),
        "manifest.yaml": manifest(charm, architecture),
        "config.yaml": charm["config"],
        "actions.yaml": charm["actions"],
    }
    files = {name: yaml.dump(of, Dumper=Readable, sort_keys=False, allow_unicode=True).encode() for name, of in derived.items()}
    files["version"] = version.encode() + b"\n"
    files["LICENSE"] = text(os.path.join(HERE, "..", "LICENSE"))
    for name in ("README.md", "icon.svg"):
        files[name] = text(os.path.join(HERE, name))
    packed = {name: (content, 0o644) for name, content in files.items()}
    packed["dispatch"] = (text(dispatch), 0o755)
    return packed


def write(packed, out):
    """The zip, in one step: a reader sees the file before or the whole new one."""
    new = out + ".new"
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, (content, mode) in sorted(packed.items()):
            entry = zipfile.ZipInfo(name, WHEN)
            entry.create_system = UNIX
            # a regular file, in the high half where Unix has its mode
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    os.replace(new, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dispatch", required=True, help="the program, built for that architecture")
    parser.add_argument("--architecture", required=True, help="as Juju calls it: amd64, arm64")
    parser.add_argument("--version", required=True, help="what `juju status --format=yaml` shows as the charm's version")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    try:
        write(entries(args.dispatch, args.architecture, args.version), args.out)
    except Wrong as wrong:
        sys.exit("charmcraft.yaml: %s" % wrong)


if __name__ == "__main__":
    main()
