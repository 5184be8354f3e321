/** What is scraped, and how that goes. */
import { createMemo, createSignal, For, onCleanup, Show, type JSX } from "solid-js";

import { formatAgo, formatClock, formatDay } from "../query/time-range";
import { formatCount, formatValue } from "../units";
import { address, go, state } from "../state";
import { DEFAULTS } from "../url";
import { scrapeJobs, type Health, type ScrapeTarget } from "../wire/client";
import { loaded } from "../wire/loaded";
import { Problem } from "./Problem";

const REFRESH_MS = 5000;
const HEALTH: Readonly<Record<Health, string>> = { good: "up", bad: "down", unknown: "waiting" };

export function Targets(): JSX.Element {
  document.title = "Targets – Decima";
  const [now, setNow] = createSignal(Date.now());
  const timer = setInterval(() => {
    if (!document.hidden) setNow(Date.now());
  }, REFRESH_MS);
  onCleanup(() => clearInterval(timer));
  const jobs = loaded(now, (_, signal) => scrapeJobs(signal));

  const wanted = createMemo(() => state().filter.trim().toLowerCase());
  const shown = createMemo(() =>
    (jobs.data() ?? [])
      .map((job) => ({ ...job, targets: job.targets.filter((target) => matches(target, wanted())) }))
      .filter((job) => job.targets.length > 0 || wanted() === ""),
  );
  const count = (health: Health) =>
    (jobs.data() ?? []).flatMap((job) => job.targets).filter((target) => target.health === health).length;

  return (
    <div class="page targets">
      <h1 class="unseen">Scrape targets</h1>
      <div class="toolbar">
        <input
          type="search"
          class="wide"
          placeholder="Search jobs, addresses, labels, errors"
          aria-label="Search targets"
          spellcheck={false}
          value={state().filter}
          onInput={(event) => go({ filter: event.currentTarget.value }, "replace")}
        />
        <p class="quiet" role="status">
          <Show when={jobs.data()}>
            {formatCount(count("good"))} up, {formatCount(count("bad"))} down, {formatCount(count("unknown"))} waiting
          </Show>
        </p>
      </div>
      <Show when={jobs.error()}>{(error) => <Problem error={error()} onRetry={() => setNow(Date.now())} />}</Show>
      <Show when={jobs.data()}>
        <For
          each={shown()}
          fallback={
            <div class="nothing">
              <Show
                when={wanted() === ""}
                fallback={
                  <>
                    <p>No target has “{state().filter}” in its job, address, labels or error.</p>
                    <button type="button" class="control" onClick={() => go({ filter: "" })}>
                      Show all
                    </button>
                  </>
                }
              >
                <h2>Nothing is scraped</h2>
                <p>
                  Add <code>scrape_configs</code> to <code>parca.yaml</code> and restart Decima. Profiles that are sent
                  to it need no target.
                </p>
                <a href={address(DEFAULTS)}>How to add a service</a>
              </Show>
            </div>
          }
        >
          {(job) => (
            <section class="job">
              <h2>
                {job.name} <span class="quiet">{formatCount(job.targets.length)}</span>
              </h2>
              <Show
                when={job.targets.length > 0}
                fallback={<p class="quiet">No targets: none is configured, or relabelling drops them all.</p>}
              >
                <div class="job-scroll">
                  <table>
                    <thead>
                      <tr>
                        <th scope="col">Health</th>
                        <th scope="col">Address</th>
                        <th scope="col">Labels</th>
                        <th scope="col">Last scrape</th>
                      </tr>
                    </thead>
                    <tbody>
                      <For each={job.targets}>{(target) => <TargetRow target={target} now={now()} />}</For>
                    </tbody>
                  </table>
                </div>
              </Show>
            </section>
          )}
        </For>
      </Show>
    </div>
  );
}

function TargetRow(props: { target: ScrapeTarget; now: number }): JSX.Element {
  const target = props.target;
  const discovered = target.discovered.map(({ name, value }) => `${name}="${value}"`).join("\n");
  return (
    <tr>
      <td>
        <span class={`health ${target.health}`}>{HEALTH[target.health]}</span>
      </td>
      <td class="address">
        <code title={`Discovered as\n${discovered}`}>{target.url}</code>
        <Show when={target.lastError !== ""}>
          <p class="wrong">{target.lastError}</p>
        </Show>
      </td>
      <td>
        <ul class="labels">
          <For each={target.labels}>
            {({ name, value }) => (
              <li>
                <code>
                  {name}=<b>{value}</b>
                </code>
              </li>
            )}
          </For>
        </ul>
      </td>
      <td class="when">
        <Show when={target.lastScrape} fallback={<span class="quiet">not yet</span>}>
          {(at) => (
            <span title={`${formatDay(at())} ${formatClock(at())}`}>
              {formatAgo(props.now - at())}
              <span class="quiet"> · took {formatValue(target.lastDuration, "ms")}</span>
            </span>
          )}
        </Show>
      </td>
    </tr>
  );
}

function matches(target: ScrapeTarget, wanted: string): boolean {
  if (wanted === "") return true;
  const text = [
    target.job,
    target.url,
    target.lastError,
    ...target.labels.map(({ name, value }) => `${name}=${value}`),
  ].join("\n");
  return text.toLowerCase().includes(wanted);
}
