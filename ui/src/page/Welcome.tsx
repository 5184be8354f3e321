/** Nothing is stored yet: how to get a first profile. */
import { createSignal, Show, type JSX } from "solid-js";

import { address } from "../state";
import { DEFAULTS } from "../url";
import { BASE, type Job } from "../wire/client";

const SCRAPE = `object_storage:
  bucket:
    type: FILESYSTEM
    config:
      directory: ./data

scrape_configs:
  - job_name: my-service
    scrape_interval: 10s
    static_configs:
      # anything that serves /debug/pprof, as Go programs do
      - targets: ["localhost:6060"]
`;

function push(): string {
  return `curl ${new URL("api/profiles/writeraw", BASE).href} \\
  -H 'content-type: application/json' --data-binary @- <<END
{"series": [{
  "labels": {"labels": [
    {"name": "__name__", "value": "process_cpu"},
    {"name": "job", "value": "my-service"}]},
  "samples": [{"raw_profile": "$(base64 -w0 cpu.pprof)"}]
}]}
END
`;
}

export function Welcome(props: { jobs: readonly Job[] | undefined }): JSX.Element {
  const targets = () => (props.jobs ?? []).flatMap((job) => job.targets);
  const failing = () => targets().filter(({ health }) => health === "bad").length;
  return (
    <div class="welcome">
      <h1>No profiles yet</h1>
      <Show
        when={targets().length > 0}
        fallback={
          <p>
            Decima runs, and nothing has sent it a profile. Add a service in one of two ways; this page notices by
            itself.
          </p>
        }
      >
        <p class="waiting" role="status">
          <span class="pulse" aria-hidden="true" />
          {targets().length === 1 ? "One target is" : `${targets().length} targets are`} being scraped; the first
          profile arrives after one scrape interval.{" "}
          <Show when={failing() > 0}>
            <a href={address({ ...DEFAULTS, page: "targets" })}>{failing()} failing: see why</a>
          </Show>
        </p>
      </Show>
      <div class="ways">
        <section>
          <h2>Let Decima fetch profiles</h2>
          <p>
            Put the service into <code>parca.yaml</code> and restart Decima:
          </p>
          <Snippet text={SCRAPE} name="parca.yaml" />
        </section>
        <section>
          <h2>Or send one yourself</h2>
          <p>Any pprof file, plain or gzipped:</p>
          <Snippet text={push()} name="command" />
        </section>
      </div>
    </div>
  );
}

function Snippet(props: { text: string; name: string }): JSX.Element {
  const [copied, setCopied] = createSignal(false);
  async function copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(props.text);
      setCopied(true);
      setTimeout(() => setCopied(false), 2000);
    } catch {
      // without a clipboard (plain http) the text can still be marked by hand
      setCopied(false);
    }
  }
  return (
    <div class="snippet">
      <header>
        <span class="quiet">{props.name}</span>
        <button type="button" class="control" aria-label={`Copy the ${props.name}`} onClick={() => void copy()}>
          {copied() ? "Copied" : "Copy"}
        </button>
      </header>
      <pre tabindex="0">{props.text}</pre>
    </div>
  );
}
