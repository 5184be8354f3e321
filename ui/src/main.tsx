/** The shell: the bar at the top and the page below it. */
import { Show, type JSX } from "solid-js";
import { render } from "solid-js/web";

import { Explore } from "./page/Explore";
import { Targets } from "./page/Targets";
import { address, go, state } from "./state";
import "./style.css";
import { mode, toggleMode } from "./theme";
import { DEFAULTS, type Page } from "./url";

function App(): JSX.Element {
  return (
    <>
      <header class="top">
        <Link page="explore" class="brand">
          <svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true">
            <path d="M2 3h20v4H2zM2 9h13v4H2zM17 9h5v4h-5zM2 15h7v4H2zM11 15h3v4h-3z" />
          </svg>
          Decima
        </Link>
        <nav aria-label="Pages">
          <Link page="explore">Explore</Link>
          <Link page="targets">Targets</Link>
        </nav>
        <button
          type="button"
          class="control theme"
          onClick={toggleMode}
          aria-label={mode() === "dark" ? "Switch to light colours" : "Switch to dark colours"}
        >
          {mode() === "dark" ? "Light" : "Dark"}
        </button>
      </header>
      <main>
        <Show when={state().page === "targets"} fallback={<Explore />}>
          <Targets />
        </Show>
      </main>
    </>
  );
}

/** A link within the screen: followed without a reload, and by the browser when a new tab is asked for. */
function Link(props: { page: Page; class?: string; children: JSX.Element }): JSX.Element {
  const target = () => (props.page === "explore" ? { ...DEFAULTS } : { ...DEFAULTS, page: props.page });
  return (
    <a
      class={props.class}
      href={address(target())}
      aria-current={state().page === props.page ? "page" : undefined}
      onClick={(event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
        event.preventDefault();
        go(target());
      }}
    >
      {props.children}
    </a>
  );
}

const root = document.getElementById("root");
if (root) render(() => <App />, root);
