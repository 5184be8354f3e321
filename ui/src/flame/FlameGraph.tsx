/** The flame graph: a canvas as large as what is visible of it, with the keyboard and a card for one frame. */
import { batch, createEffect, createMemo, createSignal, on, onCleanup, onMount, Show, type JSX } from "solid-js";

import { formatValue } from "../units";
import type { Part } from "../url";
import { Card, spoken } from "./Card";
import { emptyRects, layout, neighbour, nodeAt } from "./layout";
import { classify, palette, type ColourBy, type Mode } from "./palette";
import { Painter, ROW } from "./paint";
import type { Found } from "./search";
import { findByPathKey, pathKey, type FlameTree } from "./tree";

export interface FlameGraphProps {
  readonly tree: FlameTree;
  readonly mode: Mode;
  readonly colour: ColourBy;
  readonly found: Found | null;
  /** The path key of the frame that fills the width; empty for the root. */
  readonly zoom: string;
  /** What is in sight after moving freely, as parts of the root's width; null for the zoomed frame. */
  readonly part: Part | null;
  readonly onPart: (part: Part) => void;
  readonly onZoom: (key: string) => void;
  /** A person asks for every place of a function. */
  readonly onSearch: (name: string) => void;
  /** Told after each drawing, for measurements. */
  readonly onPaint?: (milliseconds: number, rectangles: number) => void;
}

const ZOOM_MS = 160;
/** A movement that stops for this long has come to rest. */
const REST_MS = 250;
/** The narrowest window, as a part of the root: doubles have no more to show. */
const NARROWEST_WINDOW = 1e-9;
/** Pixels that a pointer may move and still click. */
const CLICK_SLACK = 4;
/** The widest that a card gets, with its margin, in pixels: it is kept within the graph. */
const CARD_WIDTH = 372;

interface Window {
  readonly left: number;
  readonly right: number;
}

export function FlameGraph(props: FlameGraphProps): JSX.Element {
  let scroller!: HTMLDivElement;
  let canvas!: HTMLCanvasElement;
  let painter: Painter | undefined;
  const rects = emptyRects();
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

  const [size, setSize] = createSignal({ width: 0, height: 0 });
  const [shown, setShown] = createSignal<Window>(windowOf(0));
  const [scrolled, setScrolled] = createSignal(0);
  const [focused, setFocused] = createSignal(-1);
  const [hover, setHover] = createSignal<{ node: number; x: number; y: number } | null>(null);

  const colours = createMemo(() => palette(props.mode, props.tree.diff !== null));
  const classes = createMemo(() => classify(props.tree, props.colour));
  const hovered = createMemo(() => hover()?.node ?? -1);
  const zoomed = createMemo(() => (props.zoom === "" ? 0 : Math.max(0, findByPathKey(props.tree, props.zoom))));
  let wasZoomed = zoomed();

  // A new reply keeps what is looked at: the same frames, found again by their paths, and the same window
  // around the zoomed one.
  createEffect(
    on(
      () => props.tree,
      (tree, before) => {
        if (!before) return;
        const again = (node: number) => (node < 0 ? -1 : findByPathKey(tree, pathKey(before, node)));
        const was = windowOf(wasZoomed, before);
        const is = windowOf(zoomed());
        const factor = (is.right - is.left) / (was.right - was.left);
        const { left, right } = shown();
        batch(() => {
          stopGlide();
          setShown(
            inside({ left: is.left + (left - was.left) * factor, right: is.left + (right - was.left) * factor }),
          );
          setFocused(again(focused()));
          const at = hover();
          const node = at ? again(at.node) : -1;
          setHover(at && node >= 0 ? { ...at, node } : null);
        });
        wasZoomed = zoomed();
      },
    ),
  );
  createEffect(
    on(
      () => [props.zoom, props.part],
      () => {
        wasZoomed = zoomed();
        glideTo(asked());
      },
      { defer: true },
    ),
  );
  onMount(() => setShown(asked()));

  /** The window that the address asks for. */
  function asked(): Window {
    const all = props.tree.value[0];
    return props.part && all > 0 ? { left: props.part.left * all, right: props.part.right * all } : windowOf(zoomed());
  }

  /** Moves freely, and tells so once the movement rests. */
  let resting: ReturnType<typeof setTimeout> | undefined;
  function moveWindow(wanted: Window): void {
    stopGlide();
    setShown(inside(wanted));
    clearTimeout(resting);
    resting = setTimeout(() => {
      const all = windowOf(0).right;
      props.onPart({ left: shown().left / all, right: shown().right / all });
    }, REST_MS);
  }
  onCleanup(() => clearTimeout(resting));

  function windowOf(node: number, tree = props.tree): Window {
    const { offset, value } = tree;
    return value[node] > 0 ? { left: offset[node], right: offset[node] + value[node] } : { left: 0, right: 1 };
  }

  let gliding = 0;
  function stopGlide(): void {
    cancelAnimationFrame(gliding);
  }
  function glideTo(target: Window): void {
    stopGlide();
    const from = shown();
    const near = (a: number, b: number) => Math.abs(a - b) <= (target.right - target.left) * 1e-6;
    if (near(from.left, target.left) && near(from.right, target.right)) return;
    if (calm.matches) {
      setShown(target);
      return;
    }
    const begin = performance.now();
    const frame = (now: number) => {
      const part = Math.min(1, (now - begin) / ZOOM_MS);
      const eased = 1 - (1 - part) ** 3;
      setShown({
        left: from.left + (target.left - from.left) * eased,
        right: from.right + (target.right - from.right) * eased,
      });
      if (part < 1) gliding = requestAnimationFrame(frame);
    };
    gliding = requestAnimationFrame(frame);
  }
  onCleanup(stopGlide);

  // One drawing per frame, however many things changed.
  let drawing = 0;
  function draw(): void {
    drawing = 0;
    const { width, height } = size();
    if (width === 0 || height === 0) return;
    const began = performance.now();
    const context = canvas.getContext("2d", { alpha: false });
    if (!context) return;
    const ratio = window.devicePixelRatio || 1;
    const deviceWidth = Math.round(width * ratio);
    const deviceHeight = Math.round(height * ratio);
    if (canvas.width !== deviceWidth || canvas.height !== deviceHeight) {
      canvas.width = deviceWidth;
      canvas.height = deviceHeight;
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    painter ??= new Painter(context);
    const scroll = scrolled();
    const view = {
      ...shown(),
      width,
      top: Math.floor(scroll / ROW),
      bottom: Math.ceil((scroll + height) / ROW),
    };
    layout(props.tree, view, rects);
    painter.paint({
      tree: props.tree,
      classes: classes(),
      palette: colours(),
      found: props.found?.names ?? null,
      rects,
      scroll,
      width,
      height,
      focused: focused(),
      hovered: hovered(),
    });
    props.onPaint?.(performance.now() - began, rects.count);
  }
  function drawSoon(): void {
    if (drawing === 0) drawing = requestAnimationFrame(draw);
  }
  createEffect(() => {
    // everything that a drawing depends on
    void [props.tree, shown(), size(), classes(), colours(), props.found, focused(), hovered(), scrolled()];
    drawSoon();
  });
  onCleanup(() => cancelAnimationFrame(drawing));

  onMount(() => {
    const watch = new ResizeObserver(() => setSize({ width: scroller.clientWidth, height: scroller.clientHeight }));
    watch.observe(scroller);
    onCleanup(() => watch.disconnect());
  });

  function nodeUnder(event: PointerEvent | MouseEvent): number {
    const box = canvas.getBoundingClientRect();
    const { left, right } = shown();
    const at = left + ((event.clientX - box.left) / size().width) * (right - left);
    return nodeAt(props.tree, Math.floor((event.clientY - box.top + scroller.scrollTop) / ROW), at);
  }

  function zoomTo(node: number): void {
    clearTimeout(resting);
    if (node === zoomed()) glideTo(windowOf(node));
    props.onZoom(node <= 0 ? "" : pathKey(props.tree, node));
  }

  // Drag to pan, click to zoom: which one it is, the distance says.
  let press: { x: number; y: number; window: Window; scroll: number; moved: boolean } | null = null;
  function onPointerDown(event: PointerEvent): void {
    if (event.button !== 0) return;
    press = { x: event.clientX, y: event.clientY, window: shown(), scroll: scroller.scrollTop, moved: false };
  }
  function onPointerMove(event: PointerEvent): void {
    if (press && event.buttons === 1) {
      const dx = event.clientX - press.x;
      const dy = event.clientY - press.y;
      if (!press.moved && Math.hypot(dx, dy) > CLICK_SLACK) {
        press.moved = true;
        canvas.setPointerCapture(event.pointerId);
        setHover(null);
      }
      if (press.moved) {
        const { left, right } = press.window;
        const by = (-dx / size().width) * (right - left);
        moveWindow({ left: left + by, right: right + by });
        scroller.scrollTop = press.scroll - dy;
        return;
      }
    }
    const node = nodeUnder(event);
    const box = scroller.getBoundingClientRect();
    setHover(node < 0 ? null : { node, x: event.clientX - box.left, y: event.clientY - box.top });
  }
  function onPointerUp(event: PointerEvent): void {
    const was = press;
    press = null;
    if (!was || was.moved) return;
    const node = nodeUnder(event);
    if (node >= 0) {
      setFocused(node);
      zoomTo(node);
    }
  }

  function onWheel(event: WheelEvent): void {
    const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
    if (!event.ctrlKey && !event.metaKey && !sideways) return;
    event.preventDefault();
    const { left, right } = shown();
    if (sideways && !event.ctrlKey) {
      const by = (event.deltaX / size().width) * (right - left);
      moveWindow({ left: left + by, right: right + by });
      return;
    }
    const at = left + ((event.clientX - canvas.getBoundingClientRect().left) / size().width) * (right - left);
    const factor = Math.exp(event.deltaY * 0.0025);
    moveWindow({ left: at - (at - left) * factor, right: at + (right - at) * factor });
  }

  /** The window, kept within the root and no narrower than can be shown. */
  function inside(wanted: Window): Window {
    const all = windowOf(0).right;
    const span = Math.min(all, Math.max(wanted.right - wanted.left, all * NARROWEST_WINDOW));
    const left = Math.min(Math.max(0, wanted.left), all - span);
    return { left, right: left + span };
  }

  const ARROWS: Readonly<Record<string, "up" | "down" | "left" | "right">> = {
    ArrowUp: "up",
    ArrowDown: "down",
    ArrowLeft: "left",
    ArrowRight: "right",
  };

  function onKeyDown(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const towards = ARROWS[event.key];
    const at = focused() < 0 ? zoomed() : focused();
    if (towards) moveTo(focused() < 0 ? at : neighbour(props.tree, at, towards));
    else if (event.key === "Enter" || event.key === " ") zoomTo(at);
    else if (event.key === "Escape" || event.key === "0") {
      setHover(null);
      zoomTo(0);
    } else if (event.key === "Home") moveTo(0);
    else if (event.key === "s") props.onSearch(props.tree.names[props.tree.name[at]]);
    else return;
    event.preventDefault();
  }

  function moveTo(node: number): void {
    const y = props.tree.depth[node] * ROW;
    if (y < scroller.scrollTop) scroller.scrollTop = y;
    else if (y + ROW > scroller.scrollTop + size().height) scroller.scrollTop = y + ROW - size().height;
    batch(() => {
      setHover(null);
      setFocused(node);
      setScrolled(scroller.scrollTop);
    });
    const { left, right } = shown();
    const target = windowOf(node);
    // out of sight: go to the nearest frame around it that is in sight, which is what is zoomed into, or the root
    if (target.right <= left || target.left >= right) moveWindow(windowOf(Math.max(0, props.tree.parent[node])));
  }

  const height = () => (props.tree.height + 1) * ROW;
  const cardNode = () => hover()?.node ?? focused();
  const card = createMemo(() => {
    const node = cardNode();
    return node >= 0 && node < props.tree.size ? node : null;
  });
  const place = (): JSX.CSSProperties => {
    const { width, height: tall } = size();
    const at = hover();
    const node = cardNode();
    const { left, right } = shown();
    const x = at?.x ?? Math.max(0, ((props.tree.offset[node] - left) / (right - left)) * width);
    const row = props.tree.depth[node] * ROW - scrolled();
    const below = (at?.y ?? row) < tall * 0.6;
    const vertical = below
      ? { top: `${at ? at.y + 16 : row + ROW + 6}px` }
      : { bottom: `${tall - (at ? at.y - 12 : row - 6)}px` };
    return { left: `${Math.max(0, Math.min(x + 14, width - CARD_WIDTH))}px`, ...vertical };
  };

  return (
    <div class="flame">
      <div
        class="flame-scroll"
        ref={scroller}
        onScroll={() => {
          setHover(null);
          setScrolled(scroller.scrollTop);
        }}
      >
        <div class="flame-space" style={{ height: `${height()}px` }}>
          <canvas
            ref={canvas}
            class="flame-canvas"
            style={{ width: `${size().width}px`, height: `${size().height}px` }}
            tabindex="0"
            role="application"
            aria-roledescription="flame graph"
            aria-label={`Flame graph of ${formatValue(props.tree.value[0], props.tree.unit)} in ${props.tree.size - 1} frames. Arrow keys walk, Enter zooms, Escape resets, S finds all places of a function.`}
            onPointerDown={onPointerDown}
            onPointerMove={onPointerMove}
            onPointerUp={onPointerUp}
            onPointerCancel={() => (press = null)}
            onPointerLeave={() => setHover(null)}
            onWheel={onWheel}
            onKeyDown={onKeyDown}
            onBlur={() => setFocused(-1)}
          />
        </div>
      </div>
      <Show when={shown().right - shown().left < windowOf(0).right * 0.999999}>
        <button type="button" class="control reset" title="Escape" onClick={() => zoomTo(0)}>
          Reset zoom
        </button>
      </Show>
      <Show when={card()} keyed>
        {(node) => (
          <div class="card" style={place()} role="presentation">
            <Card tree={props.tree} node={node} />
          </div>
        )}
      </Show>
      <div class="unseen" role="status" aria-live="polite">
        {focused() >= 0 && focused() < props.tree.size ? spoken(props.tree, focused()) : ""}
      </div>
    </div>
  );
}
