/** Decima's API as the screen uses it: gRPC-Web below `<prefix>/api`. */
import { create } from "@bufbuild/protobuf";
import { TimestampSchema, timestampFromMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { decodeFlameGraph, type FlameTree } from "../flame/tree";
import {
  MergeProfileSchema,
  ProfileDiffSelection_Mode,
  ProfileDiffSelectionSchema,
  QueryRequest_Mode,
  QueryRequest_ReportType,
  QueryService,
  type ProfileType,
  type QueryRequest,
} from "../gen/parca/query/v1alpha1/query_pb";
import { ScrapeService, Target_Health, TargetsRequest_State } from "../gen/parca/scrape/v1alpha1/scrape_pb";
import type { Span } from "../query/time-range";

/** Where the server is mounted, with a slash at the end: `<base>` in the page, which the server fills in. */
export const BASE = new URL(document.baseURI);

const transport = createGrpcWebTransport({ baseUrl: new URL("api", BASE).href });
const queries = createClient(QueryService, transport);
const scrapes = createClient(ScrapeService, transport);

/** What went wrong, for a person: a line that says what, and one that says what to do. */
export class ApiError extends Error {
  readonly advice: string;
  /** Whether the same request may work in a moment. */
  readonly passing: boolean;

  constructor(what: string, advice: string, passing: boolean) {
    super(what);
    this.name = "ApiError";
    this.advice = advice;
    this.passing = passing;
  }
}

function explain(error: unknown): ApiError {
  const { code, rawMessage } = ConnectError.from(error);
  switch (code) {
    case Code.InvalidArgument:
      return new ApiError(rawMessage, "Correct the selector or the time range.", false);
    case Code.DeadlineExceeded:
      return new ApiError("The query took too long.", "Choose a shorter time range or a narrower selector.", true);
    case Code.ResourceExhausted:
      return new ApiError(rawMessage, "The server is at its limit: try again, or ask for less.", true);
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return new ApiError("You may not see this.", rawMessage, false);
    case Code.Unimplemented:
      return new ApiError("This server cannot do that yet.", rawMessage, false);
    case Code.Unknown:
    case Code.Unavailable:
      if (error instanceof ConnectError && error.cause instanceof TypeError) {
        return new ApiError("Decima does not answer.", "Is the server running? It will be asked again.", true);
      }
      return new ApiError(rawMessage, "Try again in a moment.", true);
    default:
      return new ApiError(rawMessage, "See the server's log for more.", false);
  }
}

/** Rounded down: a profile lies within the millisecond that it is said to be at. */
function unixMs(at: Timestamp | undefined): number {
  return at ? Number(at.seconds) * 1000 + Math.floor(at.nanos / 1e6) : 0;
}

/** The end of a span: its last millisecond to the last nanosecond, since ends are inclusive. */
function wholeMs(ms: number): Timestamp {
  const begin = timestampFromMs(ms);
  return create(TimestampSchema, { seconds: begin.seconds, nanos: begin.nanos + 999_999 });
}

async function asked<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw error instanceof Error && !(error instanceof ConnectError) && error.name !== "TypeError"
      ? error
      : explain(error);
  }
}

/** All profile types that there are. */
export function profileTypes(signal: AbortSignal): Promise<ProfileType[]> {
  return asked(async () => (await queries.profileTypes({}, { signal })).types);
}

export interface Line {
  readonly labels: readonly { readonly name: string; readonly value: string }[];
  /** Bucket starts, Unix ms, ascending. */
  readonly times: Float64Array;
  /** Per second for types with a delta, else as measured. */
  readonly values: Float64Array;
}

export interface Series {
  readonly lines: readonly Line[];
  /** The unit of `values`. */
  readonly unit: string;
  /** Whether values are of a moment; else they are of the step that begins at their time. */
  readonly momentary: boolean;
}

/** Values over time. No data is no lines, not an error. */
export async function series(
  ask: { query: string; span: Span; stepMs: number; by: string; delta: boolean; unit: string },
  signal: AbortSignal,
): Promise<Series> {
  const { query, span, stepMs, by, delta } = ask;
  const reply = await asked(async () => {
    try {
      return await queries.queryRange(
        {
          query,
          start: timestampFromMs(span.from),
          end: wholeMs(span.to),
          step: { seconds: BigInt(Math.floor(stepMs / 1000)), nanos: (stepMs % 1000) * 1e6 },
          sumBy: by === "" ? [] : [by],
        },
        { signal },
      );
    } catch (error) {
      if (error instanceof ConnectError && error.code === Code.NotFound) return { series: [] };
      throw error;
    }
  });
  const lines = reply.series.map(({ labelset, samples }) => ({
    labels: labelset?.labels ?? [],
    times: Float64Array.from(samples, ({ timestamp }) => unixMs(timestamp)),
    values: Float64Array.from(samples, ({ value, valuePerSecond }) => (delta ? valuePerSecond : Number(value))),
  }));
  const first = reply.series[0];
  // counted samples come back as the time that they stand for
  const unit = first?.sampleType?.unit || ask.unit;
  const kind = first?.sampleType?.type ?? "";
  return {
    lines,
    momentary: !delta,
    unit: delta ? (unit === "nanoseconds" && (kind === "cpu" || kind === "") ? "cores" : `${unit}/s`) : unit,
  };
}

export interface FlameAsk {
  readonly query: string;
  readonly span: Span;
  readonly base: Span | null;
  readonly absolute: boolean;
}

/** The flame graph of a range, or of its change against a base. */
export async function flameGraph(ask: FlameAsk, signal: AbortSignal): Promise<FlameTree> {
  const reply = await asked(() => queries.query(request(ask, QueryRequest_ReportType.FLAMEGRAPH_ARROW), { signal }));
  if (reply.report.case !== "flamegraphArrow")
    throw new ApiError("The server sent another report.", "Reload the page.", false);
  const { record, unit, trimmed } = reply.report.value;
  const totals = { unit, total: Number(reply.total), trimmed: Number(trimmed), filtered: Number(reply.filtered) };
  return decodeFlameGraph(record, totals, ask.base !== null);
}

/** The same samples as gzipped pprof. */
export async function pprof(ask: FlameAsk, signal: AbortSignal): Promise<Uint8Array> {
  const reply = await asked(() => queries.query(request(ask, QueryRequest_ReportType.PPROF), { signal }));
  if (reply.report.case !== "pprof") throw new ApiError("The server sent another report.", "Reload the page.", false);
  return reply.report.value;
}

function request(ask: FlameAsk, reportType: QueryRequest_ReportType): Partial<Omit<QueryRequest, "$typeName">> {
  const merge = (span: Span) =>
    create(MergeProfileSchema, { query: ask.query, start: timestampFromMs(span.from), end: wholeMs(span.to) });
  if (ask.base === null) {
    return { mode: QueryRequest_Mode.MERGE, options: { case: "merge", value: merge(ask.span) }, reportType };
  }
  const side = (span: Span) =>
    create(ProfileDiffSelectionSchema, {
      mode: ProfileDiffSelection_Mode.MERGE,
      options: { case: "merge", value: merge(span) },
    });
  const diff = {
    $typeName: "parca.query.v1alpha1.DiffProfile" as const,
    a: side(ask.base),
    b: side(ask.span),
    absolute: ask.absolute,
  };
  return { mode: QueryRequest_Mode.DIFF, options: { case: "diff", value: diff }, reportType };
}

export function labelNames(profileType: string, span: Span, signal: AbortSignal): Promise<string[]> {
  const within = { start: timestampFromMs(span.from), end: wholeMs(span.to), profileType };
  return asked(async () => (await queries.labels(within, { signal })).labelNames);
}

export function labelValues(label: string, profileType: string, span: Span, signal: AbortSignal): Promise<string[]> {
  const within = { start: timestampFromMs(span.from), end: wholeMs(span.to), profileType };
  return asked(async () => (await queries.values({ labelName: label, ...within }, { signal })).labelValues);
}

export type Health = "good" | "bad" | "unknown";

export interface ScrapeTarget {
  readonly job: string;
  readonly url: string;
  readonly health: Health;
  readonly lastError: string;
  /** Unix ms; null before the first scrape. */
  readonly lastScrape: number | null;
  /** ms */
  readonly lastDuration: number;
  readonly labels: readonly { readonly name: string; readonly value: string }[];
  readonly discovered: readonly { readonly name: string; readonly value: string }[];
}

export interface Job {
  readonly name: string;
  readonly targets: readonly ScrapeTarget[];
}

/** What is scraped, by job in alphabetical order. */
export async function scrapeJobs(signal: AbortSignal): Promise<Job[]> {
  const reply = await asked(() => scrapes.targets({ state: TargetsRequest_State.ACTIVE }, { signal }));
  const jobs = Object.entries(reply.targets).map(([name, { targets }]) => ({
    name,
    targets: targets.map((target): ScrapeTarget => {
      const at = unixMs(target.lastScrape);
      return {
        job: name,
        url: target.url,
        health: target.health === Target_Health.GOOD ? "good" : target.health === Target_Health.BAD ? "bad" : "unknown",
        lastError: target.lastError,
        // Go's zero time, the year 1, means never
        lastScrape: at > 0 ? at : null,
        lastDuration: durationMs(target.lastScrapeDuration),
        labels: target.labels?.labels ?? [],
        discovered: target.discoveredLabels?.labels ?? [],
      };
    }),
  }));
  return jobs.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function durationMs(duration: { seconds: bigint; nanos: number } | undefined): number {
  return duration ? Number(duration.seconds) * 1000 + duration.nanos / 1e6 : 0;
}
