/** Profile types in plain language. */
import type { ProfileType } from "../gen/parca/query/v1alpha1/query_pb";

export interface TypeName {
  readonly id: string;
  /** What is measured: `CPU time`. */
  readonly title: string;
  /** A sentence for who has not met it. */
  readonly about: string;
  readonly group: Group;
  readonly unit: string;
  readonly delta: boolean;
  /** Place in the picker. */
  readonly rank: number;
}

export const GROUPS = ["CPU", "Memory", "Waiting", "Concurrency", "Other"] as const;
export type Group = (typeof GROUPS)[number];

type Known = readonly [key: string, group: Group, title: string, about: string];

/**
 * `name:sample_type`, or `:sample_type` whatever the name is. The first that fits counts; the order is also
 * the picker's.
 */
const KNOWN: readonly Known[] = [
  ["process_cpu:cpu", "CPU", "CPU time", "Time on the processor."],
  ["process_cpu:samples", "CPU", "CPU samples", "How often code was seen on the processor."],
  ["parca_agent:samples", "CPU", "CPU (agent)", "Where the agent saw code on the processor, whole machine."],
  ["parca_agent:wallclock", "Waiting", "Off-CPU time (agent)", "Time off the processor, as the agent saw it."],
  ["parca_agent_cpu:samples", "CPU", "CPU (agent)", "Where the agent saw code on the processor, whole machine."],
  [
    "otel_profiler:samples",
    "CPU",
    "CPU (OpenTelemetry)",
    "Where the OpenTelemetry profiler saw code on the processor.",
  ],
  ["fgprof:samples", "CPU", "Wall-clock samples", "Goroutines on and off the processor, counted alike."],
  ["fgprof:time", "CPU", "Wall-clock time", "Time on and off the processor."],
  ["goroutine:goroutine", "Concurrency", "Goroutines", "Goroutines alive, by where they stand."],
  ["threadcreate:threadcreate", "Concurrency", "Threads created", "Operating system threads, by what created them."],
  ["mutex:contentions", "Waiting", "Lock contentions", "How often a lock kept others waiting."],
  ["mutex:delay", "Waiting", "Lock waiting time", "Time that others waited for a lock."],
  ["block:contentions", "Waiting", "Blocking events", "How often code blocked on channels and locks."],
  ["block:delay", "Waiting", "Blocking time", "Time blocked on channels and locks."],
  [":cuda_launch", "Other", "CUDA kernel launches", "GPU kernels started."],
  [":alloc_space", "Memory", "Memory allocated (bytes)", "All that was allocated, freed since or not."],
  [":alloc_objects", "Memory", "Objects allocated", "All that was allocated, freed since or not."],
  [":inuse_space", "Memory", "Memory in use (bytes)", "What is allocated and not freed yet."],
  [":inuse_objects", "Memory", "Objects in use", "What is allocated and not freed yet."],
  [":cpu", "CPU", "CPU time", "Time on the processor."],
  [":wall", "CPU", "Wall-clock time", "Time on and off the processor."],
  [":itimer", "CPU", "CPU time (timer)", "Time on the processor, by timer."],
  [":lock_count", "Waiting", "Lock contentions", "How often a lock kept others waiting."],
  [":lock_time", "Waiting", "Lock waiting time", "Time that others waited for a lock."],
];

export function typeId(type: ProfileType): string {
  const parts = [type.name, type.sampleType, type.sampleUnit, type.periodType, type.periodUnit];
  return parts.concat(type.delta ? "delta" : []).join(":");
}

export function describeType(type: ProfileType): TypeName {
  const key = `${type.name}:${type.sampleType}`;
  const known = KNOWN.find(([each]) => each === key) ?? KNOWN.find(([each]) => each === `:${type.sampleType}`);
  const [, group, title, about] = known ?? [
    "",
    "Other" as const,
    compose(type),
    `${words(type.sampleType)} of ${type.name}.`,
  ];
  const rank = GROUPS.indexOf(group) * KNOWN.length + (known ? KNOWN.indexOf(known) : 0);
  return { id: typeId(type), title, about, group, unit: type.sampleUnit, delta: type.delta, rank };
}

/** `page_faults`, `count` of `kernel` -> `Kernel: page faults`; the unit where it says something. */
function compose(type: ProfileType): string {
  const unit = type.sampleUnit === "count" || type.sampleUnit === type.sampleType ? "" : ` (${type.sampleUnit})`;
  const same = words(type.name).toLowerCase() === words(type.sampleType).toLowerCase();
  return same ? words(type.name) + unit : `${words(type.name)}: ${words(type.sampleType).toLowerCase()}${unit}`;
}

function words(name: string): string {
  const spaced = name.replace(/[_.-]+/g, " ").trim();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/**
 * All types in the picker's order. Types that would read alike (`memory:alloc_space` of two names, or one with
 * and without delta) say what tells them apart.
 */
export function nameTypes(types: readonly ProfileType[]): TypeName[] {
  const named = types.map((type) => ({ type, name: describeType(type) }));
  const alike = (title: string) => named.filter((each) => each.name.title === title);
  const told = named.map(({ type, name }) => {
    const same = alike(name.title);
    if (same.length === 1) return name;
    const byName = same.filter((each) => each.type.name === type.name).length === 1;
    const apart = byName
      ? type.name
      : type.delta
        ? `${type.name}, per interval`
        : `${type.name}, ${type.periodType || "snapshot"}`;
    return { ...name, title: `${name.title} – ${apart}` };
  });
  return told.sort((a, b) => a.rank - b.rank || (a.title < b.title ? -1 : 1));
}

/** What to show first: of CPU types the first; else memory in use; else whatever there is. */
export function firstType(types: readonly TypeName[]): TypeName | undefined {
  return types.find(({ group }) => group === "CPU") ?? types.find(({ id }) => id.includes(":inuse_space:")) ?? types[0];
}
