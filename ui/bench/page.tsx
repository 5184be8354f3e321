/** What is measured, inside the browser: the real views, given a real reply's bytes. */
import { createSignal } from "solid-js";
import { render } from "solid-js/web";

import { FlameGraph } from "../src/flame/FlameGraph";
import { decodeFlameGraph, type FlameTree } from "../src/flame/tree";
import "../src/style.css";
import { FrameTable } from "../src/table/FrameTable";

export interface Shown {
  /** Bytes -> tree, ms. */
  decode: number;
  /** Bytes -> both views drawn and the frame handed to the screen, ms. */
  shown: number;
  nodes: number;
  rectangles: number;
}

export interface Frames {
  /** Per frame: layout, painting and rasterising, ms. */
  work: number[];
  /** Per frame: from one animation frame to the next, ms. */
  interval: number[];
  /** Per frame: a bare loop of as many fillRects of the same sizes, rasterised, ms. */
  bare: number[];
  rectangles: number[];
}

const root = document.getElementById("root") as HTMLElement;
const TOTALS = { unit: "nanoseconds", total: 0, trimmed: 0, filtered: 0 };

let painted: (milliseconds: number, rectangles: number) => void = () => undefined;

function mount(tree: FlameTree): () => void {
  const [zoom, setZoom] = createSignal("");
  return render(
    () => (
      <div class="views both">
        <FrameTable
          tree={tree}
          sort={{ key: "self", descending: true }}
          onSort={() => undefined}
          filter=""
          onFilter={() => undefined}
          search=""
          onSearch={() => undefined}
        />
        <FlameGraph
          tree={tree}
          mode="light"
          colour="package"
          found={null}
          zoom={zoom()}
          part={null}
          onZoom={setZoom}
          onPart={() => undefined}
          onSearch={() => undefined}
          onPaint={(milliseconds, rectangles) => painted(milliseconds, rectangles)}
        />
      </div>
    ),
    root,
  );
}

/** Reading a pixel back waits until everything drawn before is in the bitmap. */
function rasterise(canvas: HTMLCanvasElement): void {
  canvas.getContext("2d")?.getImageData(0, 0, 1, 1);
}

/** Resolves once the frame under way has been handed to the screen. */
function presented(): Promise<void> {
  return new Promise((resolve) =>
    requestAnimationFrame(() => {
      const channel = new MessageChannel();
      channel.port1.onmessage = () => resolve();
      channel.port2.postMessage(null);
    }),
  );
}

async function show(bytes: Uint8Array): Promise<Shown> {
  const began = performance.now();
  const tree = decodeFlameGraph(bytes, TOTALS, false);
  const decode = performance.now() - began;
  const drawn = new Promise<number>((resolve) => (painted = (_, rectangles) => resolve(rectangles)));
  const dispose = mount(tree);
  const rectangles = await drawn;
  rasterise(document.querySelector("canvas") as HTMLCanvasElement);
  await presented();
  const shown = performance.now() - began;
  dispose();
  return { decode, shown, nodes: tree.size, rectangles };
}

/** Pans and zooms for `count` frames as a hand at the wheel does. */
async function move(bytes: Uint8Array, count: number): Promise<Frames> {
  const dispose = mount(decodeFlameGraph(bytes, TOTALS, false));
  await presented();
  await presented();
  const canvas = document.querySelector("canvas") as HTMLCanvasElement;
  const box = canvas.getBoundingClientRect();
  const frames: Frames = { work: [], interval: [], bare: [], rectangles: [] };
  const bare = document.createElement("canvas");
  bare.width = canvas.width;
  bare.height = canvas.height;
  painted = (milliseconds, rectangles) => {
    const before = performance.now();
    rasterise(canvas);
    frames.work.push(milliseconds + performance.now() - before);
    frames.rectangles.push(rectangles);
  };
  let last = await new Promise(requestAnimationFrame);
  for (let frame = 0; frame < count; frame++) {
    const way = frame / count;
    const sideways = frame % 3 === 2;
    canvas.dispatchEvent(
      new WheelEvent("wheel", {
        ctrlKey: !sideways,
        // in for the first half, out for the second
        deltaY: sideways ? 0 : way < 0.5 ? -18 : 18,
        deltaX: sideways ? 40 : 0,
        clientX: box.left + box.width * (0.3 + 0.4 * way),
        clientY: box.top + 200,
        bubbles: true,
        cancelable: true,
      }),
    );
    // the component asked for this animation frame before: its drawing runs first
    const now = await new Promise(requestAnimationFrame);
    frames.interval.push(now - last);
    last = now;
  }
  painted = () => undefined;
  for (const rectangles of frames.rectangles) frames.bare.push(bareLoop(bare, rectangles));
  dispose();
  return frames;
}

/** As many rectangles as a frame has, in rows across a canvas of the flame graph's size. */
function bareLoop(canvas: HTMLCanvasElement, count: number): number {
  const context = canvas.getContext("2d", { alpha: false }) as CanvasRenderingContext2D;
  const began = performance.now();
  const perRow = Math.max(1, Math.ceil(count / 43));
  const wide = canvas.width / perRow;
  context.fillStyle = "#e8c08f";
  for (let at = 0; at < count; at++) context.fillRect((at % perRow) * wide, Math.floor(at / perRow) * 20, wide - 1, 19);
  rasterise(canvas);
  return performance.now() - began;
}

function bareAll(count: number): number {
  const canvas = document.createElement("canvas");
  canvas.width = 1050;
  canvas.height = 860;
  return bareLoop(canvas, count);
}

Object.assign(window, { bench: { show, move, bareAll } });
