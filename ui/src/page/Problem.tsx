/** Something failed: what, and what to do. */
import { Show, type JSX } from "solid-js";

import { ApiError } from "../wire/client";

export function Problem(props: { error: Error; onRetry?: () => void }): JSX.Element {
  const advice = () =>
    props.error instanceof ApiError
      ? props.error.advice
      : "Reload the page; if it stays, it is a defect worth reporting.";
  return (
    <div class="problem" role="alert">
      <p>
        <b>{props.error.message}</b>
      </p>
      <p>{advice()}</p>
      <Show when={props.onRetry}>
        <button type="button" class="control" onClick={() => props.onRetry?.()}>
          Try again
        </button>
      </Show>
    </div>
  );
}
