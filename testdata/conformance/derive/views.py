"""What filters, sandwiches and inversion leave of a stack: frame by frame, with lists alone. `looks.py` has the reports."""

TEXTS = {"functionName": "fn", "systemName": "sys", "binary": "map", "filename": "file"}
NUMBERS = {"address": "addr", "lineNumber": "line"}


def ascii_lower(text):
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def conditions(criteria):
    """(field, test of a value, negated) of each condition."""
    out = []
    for field, condition in criteria.items():
        (operator, wanted), = condition.items()
        negated = operator.startswith("not")
        operator = operator[3:].lower() if negated else operator.lower()
        if field in NUMBERS:
            test = lambda value, wanted=int(wanted): value == wanted
        else:
            wanted = ascii_lower(wanted)
            test = {"equal": lambda value, wanted=wanted: ascii_lower(value) == wanted,
                    "contains": lambda value, wanted=wanted: wanted in ascii_lower(value),
                    "startswith": lambda value, wanted=wanted: ascii_lower(value).startswith(wanted)}[operator]
        out.append((field, test, negated))
    return out


def value(frame, field):
    """`None` for a field that a frame has not."""
    key = TEXTS.get(field) or NUMBERS[field]
    if key not in frame:
        return None
    return frame[key].rsplit("/", 1)[-1] if field == "binary" else frame[key]


def keeps_stack(criteria, stack):
    """Every condition holds of some frame; a negated one of none. A stack without frames passes."""
    every = [frame for location in stack for frame in location]
    for field, test, negated in conditions(criteria):
        values = [v for v in (value(frame, field) for frame in every) if v is not None]
        if every and any(map(test, values)) == negated:
            return False
    return True


def keeps_frame(criteria, frame):
    """Every condition holds. What a frame without a function lacks of it is not asked; any other frame must have it."""
    for field, test, negated in conditions(criteria):
        v = value(frame, field)
        if v is None and ("fn" not in frame or field == "binary"):
            continue
        if v is None or test(v) == negated:
            return False
    return True


def cut(stack, name, outermost):
    """From the innermost frame of a function to the leaf, or from its outermost to the root; `None` without it."""
    lines = [(place, frame) for place, location in enumerate(stack) for frame in location]
    at = [i for i, (_, frame) in enumerate(lines) if frame.get("fn") == name]
    if not at:
        return None
    lines = lines[at[-1]:] if outermost else lines[:at[0] + 1]
    places = sorted({place for place, _ in lines})
    return [[frame for place, frame in lines if place == wanted] for wanted in places]


def filters(request):
    """(criteria of stacks, alternatives for frames) in the terms of today; the older forms are put into them."""
    stacks, frames = [], []
    for one in request.get("filter", []):
        if "stackFilter" in one:
            old = one["stackFilter"].get("functionNameStackFilter")
            if old is not None:
                operator = "notContains" if old.get("exclude") else "contains"
                stacks.append({"functionName": {operator: old["functionToFilter"]}})
            stacks.append(one["stackFilter"].get("criteria", {}))
        if "frameFilter" in one:
            old = one["frameFilter"].get("binaryFrameFilter")
            if old is not None and old.get("includeBinaries"):
                frames.append([{"binary": {"contains": name}} for name in old["includeBinaries"]])
            frames.append([one["frameFilter"].get("criteria", {})])
    return stacks, frames


def seen(request, stack):
    """The stack as the request sees it; `None` if it does not."""
    stack_filters, frame_filters = filters(request)
    name, invert = request.get("sandwichByFunction", ""), request.get("invertCallStack", False)
    if name:
        if "merge" not in request:
            stack_filters = stack_filters + [{"functionName": {"contains": name}}]
        else:
            stack = cut(stack, name, invert)
            if stack is None:
                return None
    if not all(keeps_stack(criteria, stack) for criteria in stack_filters):
        return None
    for alternatives in frame_filters:
        stack = [[frame for frame in location if any(keeps_frame(c, frame) for c in alternatives)] for location in stack]
        stack = [location for location in stack if location]
    # inlined is what lies in a frame that is still there
    stack = [[dict(frame, inl=place + 1 < len(location)) for place, frame in enumerate(location)] for location in stack]
    # a location stays as it is: what is inlined lies below what it is inlined into
    return stack[::-1] if invert else stack
