"""Deviations whose answers are derived: into deviations.json, or held against what stands there."""
import json
import os
import re
import sys

from inputs import CASES, wire  # noqa: F401  (puts the cases' folder on the path)
from lib import compare

LIST = os.path.join(CASES, "deviations.json")
# of an answer that stands in the list itself
INLINE_BYTES_MAX = 2000


def cases():
    with open(os.path.join(CASES, "cases.jsonl"), encoding="utf-8") as f:
        return {case["id"]: case for case in map(json.loads, f)}


def recorded(case):
    kind = next(kind for kind in ("ok", "error", "http") if kind in case)
    answer = case[kind]
    if isinstance(answer, dict) and "@expect" in answer:
        with open(os.path.join(CASES, answer["@expect"]), encoding="utf-8") as f:
            answer = json.load(f)
    return {kind: answer}


def listed():
    with open(LIST, encoding="utf-8") as f:
        return json.load(f)


def held(entry):
    expect = entry["expect"]
    answer = expect.get("ok")
    if isinstance(answer, dict) and "@expect" in answer:
        with open(os.path.join(CASES, answer["@expect"]), encoding="utf-8") as f:
            return {"ok": json.load(f)}
    return expect


def main(derived, same=()):
    """`derived`: id to (reason, answer held right). `same`: (id, answer) of cases in which the original is right, which
    show that the derivation is. Without an argument entries are written into the list; with `--check` held against it."""
    known = cases()
    wrong = []
    for case_id, answer in same:
        difference = compare.result(known[case_id], recorded(known[case_id]), answer)
        if difference:
            wrong.append("%s, where the original is right: %s" % (case_id, difference))
    entries = listed()
    by_id = {entry.get("id"): entry for entry in entries}
    for case_id, (reason, answer) in derived.items():
        # as it is read back: tuples are lists
        answer = json.loads(json.dumps(answer))
        old = by_id.get(case_id)
        if old is None and not compare.result(known[case_id], recorded(known[case_id]), answer):
            wrong.append("%s: the original says the same" % case_id)
        elif "--check" in sys.argv[1:]:
            if old is None or old["reason"] != reason or held(old) != answer:
                wrong.append("%s: the list says otherwise" % case_id)
        else:
            entry = {"id": case_id, "reason": reason, "expect": answer}
            text = json.dumps(answer, ensure_ascii=False)
            if len(text.encode()) > INLINE_BYTES_MAX and "ok" in answer:
                name = "expect-decima/%s.json" % case_id.replace("/", ".")
                with open(os.path.join(CASES, name), "w", encoding="utf-8") as f:
                    f.write(lines(answer["ok"]) + "\n")
                entry["expect"] = {"ok": {"@expect": name}}
            if old is None:
                entries.append(entry)
            else:
                entries[entries.index(old)] = entry
    if "--check" not in sys.argv[1:] and not wrong:
        with open(LIST, "w", encoding="utf-8") as f:
            f.write(json.dumps(entries, ensure_ascii=False, indent=1) + "\n")
    print("%s: %d derived, %d as recorded, %d wrong" % (os.path.basename(sys.argv[0]), len(derived), len(same), len(wrong)))
    for line in wrong:
        print("  " + line)
    sys.exit(1 if wrong else 0)


def lines(answer):
    """A row per line, so that one sees what changed."""
    text = json.dumps(answer, ensure_ascii=False, sort_keys=True)
    return re.sub(r"(\]|\}), (\[|\"(?:fn|addr) )", r"\1,\n\2", text)
