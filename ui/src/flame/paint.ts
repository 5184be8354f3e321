/** Draws laid out rectangles on a canvas. Fills are grouped by colour, texts are cut by a table of letter widths. */
import type { Rects } from "./layout";
import type { Palette } from "./palette";
import type { FlameTree } from "./tree";

export const ROW = 20;
const FONT = '12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif';
const PADDING = 4;
/** Narrower than this, not even a letter and the ellipsis fit. */
const TEXT_MIN = 24;
const ELLIPSIS = "…";

export interface Scene {
  readonly tree: FlameTree;
  readonly classes: Uint8Array;
  readonly palette: Palette;
  /** Per name, 1 where a search found it; null without a search. */
  readonly found: Uint8Array | null;
  readonly rects: Rects;
  /** How far the graph is scrolled down, and the canvas' size, in CSS pixels. */
  readonly scroll: number;
  readonly width: number;
  readonly height: number;
  /** Nodes to outline, or -1. */
  readonly focused: number;
  readonly hovered: number;
}

export class Painter {
  readonly #context: CanvasRenderingContext2D;
  /** Widths of the letters with codes 0..255, and of anything else; measured once. */
  readonly #letters = new Float32Array(257);
  #order = new Int32Array(4096);

  constructor(context: CanvasRenderingContext2D) {
    this.#context = context;
    context.font = FONT;
    for (let code = 32; code < 256; code++) this.#letters[code] = context.measureText(String.fromCharCode(code)).width;
    this.#letters[256] = context.measureText("漢").width;
  }

  paint(scene: Scene): void {
    const { tree, classes, palette, found, rects, scroll, width, height } = scene;
    const context = this.#context;
    context.fillStyle = palette.page;
    context.fillRect(0, 0, width, height);
    const classOf = (at: number) => {
      const node = rects.node[at];
      if (node < 0) return NARROW;
      if (found === null) return classes[node] + FIRST_FILL;
      return found[tree.name[node]] === 1 ? FOUND : FADED;
    };
    const styles = [palette.narrow, palette.faded, palette.highlight, ...palette.fills];
    const order = this.#groupByClass(rects.count, styles.length, classOf);
    for (let style = 0, at = 0; style < styles.length; style++) {
      const stop = this.#ends[style];
      if (at === stop) continue;
      context.fillStyle = styles[style];
      for (; at < stop; at++) {
        const each = order[at];
        const node = rects.node[each];
        const level = tree.depth[node < 0 ? ~node : node];
        const wide = rects.width[each];
        // a gap to the right, except where it would swallow the frame
        context.fillRect(rects.x[each], level * ROW - scroll, wide > 3 ? wide - 1 : wide, ROW - 1);
      }
    }

    context.font = FONT;
    context.textBaseline = "middle";
    this.#texts(scene, FOUND, palette.highlightText, classOf);
    this.#texts(scene, FADED, palette.fadedText, classOf);
    this.#texts(scene, FIRST_FILL, palette.text, classOf);
    this.#outline(scene, scene.hovered, 1);
    this.#outline(scene, scene.focused, 2);
  }

  #ends = new Int32Array(0);

  /** Positions of rectangles, those of a class together; `#ends[class]` is where each run ends. */
  #groupByClass(count: number, classes: number, classOf: (at: number) => number): Int32Array {
    if (this.#order.length < count) this.#order = new Int32Array(count * 2);
    const ends = new Int32Array(classes);
    for (let at = 0; at < count; at++) ends[classOf(at)]++;
    for (let each = 1; each < classes; each++) ends[each] += ends[each - 1];
    const fill = ends.slice();
    for (let at = count - 1; at >= 0; at--) this.#order[--fill[classOf(at)]] = at;
    this.#ends = ends;
    return this.#order;
  }

  /** Texts of one class (of all fills for `FIRST_FILL`), in one colour. */
  #texts(scene: Scene, wanted: number, colour: string, classOf: (at: number) => number): void {
    const { tree, rects, scroll } = scene;
    const context = this.#context;
    context.fillStyle = colour;
    for (let at = 0; at < rects.count; at++) {
      if (rects.width[at] < TEXT_MIN || Math.min(classOf(at), FIRST_FILL) !== wanted) continue;
      const node = rects.node[at];
      const text = this.#cut(tree.names[tree.name[node]], rects.width[at] - 2 * PADDING);
      if (text !== "") context.fillText(text, rects.x[at] + PADDING, tree.depth[node] * ROW - scroll + ROW / 2);
    }
  }

  /** The text, or as much of it as fits with an ellipsis; empty if that is nothing. */
  #cut(text: string, room: number): string {
    const dots = this.#letters[46] * 3;
    let wide = 0;
    let fits = 0;
    for (let at = 0; at < text.length; at++) {
      wide += this.#letters[Math.min(text.charCodeAt(at), 256)];
      if (wide > room) return fits > 0 ? text.slice(0, fits) + ELLIPSIS : "";
      if (wide + dots <= room) fits = at + 1;
    }
    return text;
  }

  #outline(scene: Scene, node: number, thick: number): void {
    if (node < 0) return;
    const { rects, tree, scroll } = scene;
    for (let at = 0; at < rects.count; at++) {
      if (rects.node[at] !== node) continue;
      const context = this.#context;
      context.strokeStyle = scene.palette.outline;
      context.lineWidth = thick;
      const inset = thick / 2;
      const wide = Math.max(rects.width[at] - 1, thick);
      context.strokeRect(rects.x[at] + inset, tree.depth[node] * ROW - scroll + inset, wide - thick, ROW - 1 - thick);
      return;
    }
  }
}

const NARROW = 0;
const FADED = 1;
const FOUND = 2;
/** Classes from here on are the palette's fills. */
const FIRST_FILL = 3;
