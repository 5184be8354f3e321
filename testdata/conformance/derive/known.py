"""Which stacks a sender of the two-way Write is asked for, call by call: those that it has sent over its connection are known."""
import uuid

from entries import cases, main, recorded
from inputs import manifest, payload
from pyarrow import ArrowInvalid, ipc

KNOWN = ("stacks that came over a connection are not asked for again over it, and a write that leaves them out is whole: "
         "Parca asks for all of them each time")


def ids(raw):
    """Distinct IDs of stacks that samples name, or that were sent."""
    named = []
    for batch in ipc.open_stream(raw):
        for one in batch.column("stacktrace_id").to_pylist():
            one = one.bytes if isinstance(one, uuid.UUID) else one
            if one not in named:
                named.append(one)
    return named


def complete(raw):
    return {one for batch in ipc.open_stream(raw)
            for one, is_complete in zip(batch.column("stacktrace_id").to_pylist(), batch.column("is_complete").to_pylist())
            if is_complete}


def asked():
    """Of each case with both messages of a write: for how many stacks it is asked, and whether it is whole then."""
    known = set()

    def write(samples, locations):
        named = ids(samples)
        unknown = [one for one in named if one not in known]
        whole = not set(unknown) - set(ids(locations))
        if whole:
            known.update(complete(locations) & set(named))
        return len(unknown), whole

    # all over one connection
    for call in manifest():
        if call["call"] == "Write":
            write(*(payload({"@file": name}) for name in call["files"]))
    for case_id, case in cases().items():
        if case_id.startswith("write-v1/") and len(case["requests"]) == 2:
            try:
                yield case_id, *write(*(payload(request["record"]) for request in case["requests"]))
            except (ArrowInvalid, OSError):
                # what is no Arrow is refused as ever
                pass


def whole():
    return {case_id for case_id, _, is_whole in asked() if is_whole}


if __name__ == "__main__":
    derived, same = {}, []
    for case_id, unknown, is_whole in asked():
        answer = {"ok": {"messages": [{"columns": [["stacktrace_id", "string"]], "stacktrace_ids": unknown}]}}
        was = recorded(cases()[case_id])
        if not is_whole or answer == was:
            same.append((case_id, was))
        else:
            derived[case_id] = (KNOWN, answer)
    main(derived, same)
