/** What may be typed next in the selector box: label names, operators, values. */

export const OPERATORS: readonly { readonly text: string; readonly meaning: string }[] = [
  { text: "=", meaning: "is" },
  { text: "!=", meaning: "is not" },
  { text: "=~", meaning: "matches the pattern" },
  { text: "!~", meaning: "does not match the pattern" },
];

/** Where the caret stands: `from..to` is what a suggestion replaces, `typed` what of it is there already. */
export type Place =
  | { readonly kind: "label"; readonly typed: string; readonly from: number; readonly to: number }
  | {
      readonly kind: "operator";
      readonly label: string;
      readonly typed: string;
      readonly from: number;
      readonly to: number;
    }
  | {
      readonly kind: "value";
      readonly label: string;
      readonly typed: string;
      readonly from: number;
      readonly to: number;
    }
  | { readonly kind: "none" };

/** Reads the matchers up to the caret: `label operator "value"`, divided by commas. */
export function placeAt(text: string, caret: number): Place {
  let at = 0;
  for (;;) {
    at = skip(text, at, /[\s,{]/);
    if (at > caret) return { kind: "none" };
    const nameFrom = at;
    at = skip(text, at, /[^\s,{}=!~"]/);
    const label = text.slice(nameFrom, at);
    if (caret <= at) return { kind: "label", typed: text.slice(nameFrom, caret), from: nameFrom, to: at };

    const gap = at;
    at = skip(text, at, /\s/);
    const operatorFrom = at;
    at = skip(text, at, /[=!~]/);
    const operator = text.slice(operatorFrom, at);
    // with a whole operator before the caret, the value comes next
    if (caret <= at && !OPERATORS.some((each) => each.text === operator)) {
      const from = operator === "" ? gap : operatorFrom;
      return { kind: "operator", label, typed: text.slice(operatorFrom, Math.max(caret, operatorFrom)), from, to: at };
    }
    if (operator === "") return { kind: "none" };

    const valueFrom = skip(text, at, /\s/);
    if (text[valueFrom] !== '"') {
      const to = skip(text, valueFrom, /[^,}"]/);
      if (caret <= to) return { kind: "value", label, typed: text.slice(valueFrom, caret).trim(), from: valueFrom, to };
      return { kind: "none" };
    }
    const close = closingQuote(text, valueFrom);
    const to = close < 0 ? text.length : close + 1;
    if (caret < to || close < 0) {
      return { kind: "value", label, typed: unquote(text.slice(valueFrom + 1, caret)), from: valueFrom, to };
    }
    if (caret === to) return { kind: "none" };
    at = to;
  }
}

function skip(text: string, at: number, over: RegExp): number {
  while (at < text.length && over.test(text[at])) at++;
  return at;
}

function closingQuote(text: string, open: number): number {
  for (let at = open + 1; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === '"') return at;
  }
  return -1;
}

function unquote(text: string): string {
  return text.replace(/\\(.)/g, "$1");
}

export function quote(value: string): string {
  return `"${value.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n")}"`;
}

/** Puts a suggestion in its place; returns the text and where the caret goes. */
export function accept(
  text: string,
  place: Exclude<Place, { kind: "none" }>,
  suggestion: string,
): { text: string; caret: number } {
  const put = place.kind === "value" ? quote(suggestion) : suggestion;
  const before = text.slice(0, place.from);
  return { text: before + put + text.slice(place.to), caret: before.length + put.length };
}

/** The suggestions that hold what is typed, those that begin with it first; the order is kept otherwise. */
export function rank(all: readonly string[], typed: string, most: number): string[] {
  const lower = typed.toLowerCase();
  const holding = all.filter((each) => each.toLowerCase().includes(lower));
  const begins = holding.filter((each) => each.toLowerCase().startsWith(lower));
  const others = holding.filter((each) => !each.toLowerCase().startsWith(lower));
  return begins.concat(others).slice(0, most);
}

/** The matchers of a text that may or may not be in braces. */
export function withoutBraces(text: string): string {
  return text.trim().replace(/^\{/, "").replace(/\}$/, "").replace(/,\s*$/, "").trim();
}

/** A matcher added to matchers, replacing one of equality on the same label. */
export function withMatcher(matchers: string, label: string, value: string): string {
  const other = splitMatchers(matchers).filter(
    (each) => !each.startsWith(`${label}=`) || each.startsWith(`${label}=~`),
  );
  return other.concat(`${label}=${quote(value)}`).join(", ");
}

function splitMatchers(text: string): string[] {
  const parts = text.match(/[^,"]*(?:"(?:[^"\\]|\\.)*")?[^,"]*/g) ?? [];
  return parts.map((part) => part.trim()).filter((part) => part !== "");
}
