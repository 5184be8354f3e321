"""What the case `load` writes, as plain values: stacks of frames with values, nothing interned, nothing shared."""
import base64
import gzip
import json
import os
import sys

CASES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, CASES)

from lib import wire  # noqa: E402

INPUTS = os.path.join(CASES, "inputs")
SCHEMA = wire.Schema(os.path.join(CASES, "parca.fds"))


def manifest():
    with open(os.path.join(INPUTS, "manifest.json"), encoding="utf-8") as f:
        return json.load(f)["writes"]


def payload(value):
    if isinstance(value, str):
        return base64.b64decode(value)
    with open(os.path.join(INPUTS, value["@file"]), "rb") as f:
        return f.read()[: value.get("take")]


def demangled(name):
    """Nested names without types (`_ZN3foo3barEi`), a Rust name's hash left out; others as they are."""
    if not name.startswith("_ZN"):
        return name
    parts, rest = [], name[3:]
    while rest and rest[0].isdigit():
        digits = ""
        while rest[0].isdigit():
            digits, rest = digits + rest[0], rest[1:]
        parts.append(rest[: int(digits)])
        rest = rest[int(digits):]
    if not rest.startswith("E"):
        return name
    if len(parts) > 1 and len(parts[-1]) == 17 and parts[-1][0] == "h":
        parts.pop()
    return "::".join(parts)


def frames_of(locations, maps, functions, s):
    """Location id to its frames, innermost first."""
    out = {}
    for l in locations:
        where = {}
        m = maps.get(l.mapping_id)
        if m is not None:
            where = {"map": s(m.filename), "build": s(m.build_id)}
        where["addr"] = l.address
        if not l.line:
            out[l.id] = [where]
            continue
        frames = []
        for place, line in enumerate(l.line):
            f = functions[line.function_id]
            name, system = s(f.name), s(f.system_name)
            frames.append(dict(where, fn=demangled(name or system), sys=system, file=s(f.filename), start=f.start_line,
                               line=line.line, inl=place + 1 < len(l.line)))
        out[l.id] = frames
    return out


def pprof(name):
    """A pprof input: its types, time, period, and samples of `stack` (locations leaf first, each a list of frames
    innermost first), `values` and `labels`."""
    with open(os.path.join(INPUTS, name), "rb") as f:
        return pprof_of(f.read())


def pprof_of(raw):
    p = SCHEMA.cls("perftools.profiles.Profile")()
    p.ParseFromString(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw)
    s = lambda i: p.string_table[i]
    frames = frames_of(p.location, {m.id: m for m in p.mapping}, {f.id: f for f in p.function}, s)
    samples = []
    for x in p.sample:
        labels = {s(l.key): s(l.str) for l in x.label if l.str}
        # a label may stand there with several values: by the first a sample is told apart
        first = {s(l.key): s(l.str) for l in reversed(x.label) if l.str}
        samples.append({"stack": [frames[i] for i in x.location_id], "values": list(x.value), "labels": labels, "first": first})
    return {"types": ["%s:%s" % (s(t.type), s(t.unit)) for t in p.sample_type], "time": p.time_nanos,
            "period_type": "%s:%s" % (s(p.period_type.type), s(p.period_type.unit)), "period": p.period, "duration": p.duration_nanos,
            "delta": p.duration_nanos != 0, "samples": samples}


def otlp(name):
    """The profiles of an OTLP 1.10 export, as `pprof` gives them. A sample without values counts its timestamps, and
    stands at the first."""
    request = SCHEMA.method("opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export")[0]()
    with open(os.path.join(INPUTS, name), "rb") as f:
        request.ParseFromString(f.read())
    d = request.dictionary
    s = lambda i: d.string_table[i]

    def build_id(mapping):
        ids = [d.attribute_table[i].value.string_value for i in mapping.attribute_indices
               if s(d.attribute_table[i].key_strindex) == "process.executable.build_id.gnu"]
        return ids[0] if ids else ""

    def location(at):
        l = d.location_table[at]
        where = {"addr": l.address}
        if l.mapping_index:
            m = d.mapping_table[l.mapping_index]
            where.update(map=s(m.filename_strindex), build=build_id(m))
        frames = []
        for place, line in enumerate(l.lines):
            f = d.function_table[line.function_index]
            name, system = s(f.name_strindex), s(f.system_name_strindex)
            frames.append(dict(where, fn=demangled(name or system), sys=system, file=s(f.filename_strindex),
                               start=f.start_line, line=line.line, inl=place + 1 < len(l.lines)))
        return frames or [where]

    for resource in request.resource_profiles:
        for scope in resource.scope_profiles:
            for p in scope.profiles:
                samples = []
                for x in p.samples:
                    stack = [location(at) for at in d.stack_table[x.stack_index].location_indices]
                    value = sum(x.values) or len(x.timestamps_unix_nano)
                    samples.append({"stack": stack, "values": [value], "labels": {},
                                    "time": [*x.timestamps_unix_nano, p.time_unix_nano][0]})
                kind = lambda t: "%s:%s" % (s(t.type_strindex), s(t.unit_strindex))
                yield {"types": [kind(p.sample_type)], "time": p.time_unix_nano, "period_type": kind(p.period_type),
                       "period": p.period, "delta": p.duration_nano != 0, "samples": samples}


def pprofs():
    """(labels of the series, profile) of every pprof that `load` writes, in order."""
    for call in manifest():
        if call["call"] == "WriteRaw":
            for series in call["series"]:
                for name in series["files"]:
                    yield series["labels"], pprof(name)
