/** Answers that follow what is asked. */
import { createEffect, createSignal, on, onCleanup, type Accessor } from "solid-js";

export interface Loaded<T> {
  /** The newest answer. It stays while the next one is on its way, so that the screen does not flicker. */
  readonly data: Accessor<T | undefined>;
  readonly error: Accessor<Error | undefined>;
  /** True once an answer takes long enough to be worth saying so. */
  readonly slow: Accessor<boolean>;
  /** True until the first answer or error. */
  readonly first: Accessor<boolean>;
}

/** Shorter waits pass without a sign: one that flashes up is worse than none. */
const SLOW_MS = 150;

/** Asks whenever `ask` gives something else (null: nothing to ask); a newer question aborts the one before. */
export function loaded<A, T>(ask: Accessor<A | null>, load: (ask: A, signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [data, setData] = createSignal<T | undefined>(undefined, { equals: false });
  const [error, setError] = createSignal<Error | undefined>();
  const [slow, setSlow] = createSignal(false);
  const [first, setFirst] = createSignal(true);

  createEffect(
    on(ask, (wanted) => {
      if (wanted === null) return;
      const abort = new AbortController();
      const timer = setTimeout(() => setSlow(true), SLOW_MS);
      const settle = (answer: () => void) => {
        if (abort.signal.aborted) return;
        clearTimeout(timer);
        answer();
        setSlow(false);
        setFirst(false);
      };
      onCleanup(() => {
        clearTimeout(timer);
        setSlow(false);
        abort.abort();
      });
      load(wanted, abort.signal).then(
        (answer) =>
          settle(() => {
            setError(undefined);
            setData(() => answer);
          }),
        (reason: unknown) =>
          settle(() => {
            // an old answer must not pass for the answer to a question that failed
            setData(undefined);
            setError(reason instanceof Error ? reason : new Error(String(reason)));
          }),
      );
    }),
  );
  return { data, error, slow, first };
}
