// The map of the covered ground: where the slide's fields lie, and where the camera looks now.

import { find, say } from "./element.js";
import { count, length, wholePercent } from "./words.js";

// Of a map with little ground on it, this much is shown, in frames.
const LEAST_FRAMES = 3;
const MARGIN_FRAMES = 0.35;
const SCALE_SHARE = 0.34;
const SCALE_PX = 22;
// A stage on its way is lost for a frame now and then, and found again by the next.
const LOST_AFTER_MS = 1500;
const NONE = { tracking: "off", frame_px: null };

export class Ground {
  #canvas = find("ground-map");
  #context = this.#canvas.getContext("2d");
  #map = null; // as the station tells it, with its squares unpacked
  #sight = NONE;
  #version = -1;
  #loading = false;
  #knownAt = 0;
  #state = null;

  constructor() {
    new ResizeObserver(() => this.#draw()).observe(this.#canvas);
    const [plate, status, dialog] = ["ground-plate", "ground-status", "ground-dialog"].map(find);
    const [stage, card] = [plate.parentElement, status.parentElement];
    find("ground-larger").addEventListener("click", () => {
      find("ground-place").append(plate);
      find("ground-place").after(status);
      dialog.showModal();
    });
    dialog.addEventListener("close", () => {
      stage.prepend(plate);
      card.append(status);
    });
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this.#draw());
  }

  update(state) {
    this.#state = state;
    if (state.ground_map.version !== this.#version) this.#load();
    else this.#show();
  }

  // A station that started anew counts its versions anew.
  forget() {
    this.#version = -1;
  }

  async #load() {
    if (this.#loading) return;
    this.#loading = true;
    try {
      const answer = await fetch("api/ground", { cache: "no-store" });
      if (!answer.ok) return;
      const map = await answer.json();
      this.#version = map.sight.version;
      this.#map = { ...map, covered: unpacked(map) };
      this.#show();
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the connection says for itself that it is lost
    } finally {
      this.#loading = false;
    }
  }

  #show() {
    // The frame's place is told for one version of the map: on another it may lie elsewhere.
    const { ground_map: now, health } = this.#state;
    this.#sight = health.camera === "lost" ? NONE : now.version === this.#version ? now : this.#map?.sight ?? NONE;
    if (this.#sight.tracking !== "lost") this.#knownAt = performance.now();
    const [kind, words] = this.#verdict();
    const status = find("ground-status");
    say(status, words);
    status.title = this.#lost ? "Nothing tells where the camera looks; the map finds the place again by ground that it has seen" : words;
    status.dataset.kind = kind;
    const parts = this.#map?.other_islands ?? 0;
    say(find("ground-parts"), parts ? `${count(parts)} ${parts === 1 ? "part" : "parts"} not joined` : "");
    find("ground-parts").title = parts ? "Ground of this slide that was shown too, but not yet how it lies to this" : "";
    find("ground-lost").hidden = !this.#lost;
    this.#canvas.setAttribute("aria-label", this.#label(words));
    this.#draw();
  }

  get #lost() {
    return this.#sight.tracking === "lost" && performance.now() - this.#knownAt > LOST_AFTER_MS;
  }

  #verdict() {
    if (!this.#map?.fields && this.#sight.tracking !== "known") return ["quiet", "No ground covered yet"];
    if (this.#lost) return ["warn", "Go to covered ground"];
    if (this.#sight.tracking === "lost") return ["quiet", "Looking for the place"];
    if (!this.#sight.frame_px) return ["quiet", "The camera is not followed now"];
    const fresh = 1 - this.#covered(this.#sight.frame_px);
    if (fresh > 0.95) return ["good", "On new ground"];
    return ["quiet", fresh < 0.05 ? "On covered ground" : `${wholePercent(fresh)} of the view is new`];
  }

  #label(words) {
    const map = this.#map;
    if (!map?.fields) return `Map of the covered ground: ${words.toLowerCase()}`;
    const across = (squares, frame) => (map.um_per_px
      ? length(squares * map.square_px * map.um_per_px)
      : `${(squares * map.square_px / frame).toFixed(1)} frames`);
    const [width, height] = map.frame_size_px;
    const blasts = map.blasts_px.length;
    const parts = [
      `${count(map.fields)} ${map.fields === 1 ? "field" : "fields"}`,
      `${across(map.columns, width)} wide, ${across(map.rows, height)} high`,
      blasts ? `${count(blasts)} ${blasts === 1 ? "blast" : "blasts"} marked` : "",
      find("ground-parts").textContent,
      this.#lost ? "the place is lost" : "",
      words.toLowerCase(),
    ];
    return `Map of the covered ground: ${parts.filter((part) => part).join("; ")}`;
  }

  // The share of a rectangle of the island that is covered, to a square.
  #covered([left, top, right, bottom]) {
    const { corner_px: [x0, y0], square_px: side, columns, rows, covered } = this.#map;
    const [first, last] = [Math.round((left - x0) / side), Math.max(Math.round((right - x0) / side), Math.round((left - x0) / side) + 1)];
    const [upper, lower] = [Math.round((top - y0) / side), Math.max(Math.round((bottom - y0) / side), Math.round((top - y0) / side) + 1)];
    let found = 0;
    for (let row = Math.max(0, upper); row < Math.min(rows, lower); row++) {
      for (let column = Math.max(0, first); column < Math.min(columns, last); column++) found += covered[row * columns + column];
    }
    return found / ((last - first) * (lower - upper));
  }

  #draw() {
    const canvas = this.#canvas;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * ratio));
    if (!width || !height) return;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = this.#context;
    context.clearRect(0, 0, width, height);
    if (!this.#map?.columns && !this.#sight.frame_px) return;
    const ink = inks(canvas);
    const view = this.#view(width, height - (this.#map.um_per_px ? SCALE_PX * ratio : 0));
    if (this.#sight.tracking !== "known") context.globalAlpha = 0.55;
    this.#drawGround(view, ink, ratio);
    this.#drawBlasts(view, ink, ratio);
    context.globalAlpha = 1;
    this.#drawFrame(view, ink, ratio);
    this.#drawScale(view, ink, ratio, height, width);
    canvas.dataset.version = String(this.#version);
  }

  // What part of the island is shown: all covered ground and the frame, to whole frames, so that the map
  // stands still while the stage moves within them.
  #view(width, height) {
    const { corner_px: [x0, y0], square_px: side, columns, rows, frame_size_px: [across, down] } = this.#map;
    const boxes = columns ? [[x0, y0, x0 + columns * side, y0 + rows * side]] : [];
    if (this.#sight.frame_px) boxes.push(this.#sight.frame_px);
    const frames = (edges, size, round) => round(edges / size) * size;
    const left = frames(Math.min(...boxes.map((box) => box[0] + across * 0.1)), across, Math.floor) - MARGIN_FRAMES * across;
    const top = frames(Math.min(...boxes.map((box) => box[1] + down * 0.1)), down, Math.floor) - MARGIN_FRAMES * down;
    const right = frames(Math.max(...boxes.map((box) => box[2] - across * 0.1)), across, Math.ceil) + MARGIN_FRAMES * across;
    const bottom = frames(Math.max(...boxes.map((box) => box[3] - down * 0.1)), down, Math.ceil) + MARGIN_FRAMES * down;
    const wide = Math.max(right - left, LEAST_FRAMES * across);
    const high = Math.max(bottom - top, LEAST_FRAMES * down);
    const scale = Math.min(width / wide, height / high);
    const [middleX, middleY] = [(left + right) / 2, (top + bottom) / 2];
    return {
      scale,
      x: (px) => width / 2 + (px - middleX) * scale,
      y: (px) => height / 2 + (px - middleY) * scale,
    };
  }

  #drawGround(view, ink, ratio) {
    const { corner_px: [x0, y0], square_px: side, columns, rows, covered } = this.#map;
    const context = this.#context;
    const at = (column, row) => column >= 0 && row >= 0 && column < columns && row < rows && covered[row * columns + column] === 1;
    // Edges on whole pixels: no seams between squares.
    const xs = Array.from({ length: columns + 1 }, (_, column) => Math.round(view.x(x0 + column * side)));
    const ys = Array.from({ length: rows + 1 }, (_, row) => Math.round(view.y(y0 + row * side)));
    context.fillStyle = ink.ground;
    const outline = new Path2D();
    for (let row = 0; row <= rows; row++) {
      for (let column = 0; column <= columns; column++) {
        const here = at(column, row);
        if (here) context.fillRect(xs[column], ys[row], xs[column + 1] - xs[column], ys[row + 1] - ys[row]);
        if (column < columns && here !== at(column, row - 1)) line(outline, xs[column], ys[row], xs[column + 1], ys[row]);
        if (row < rows && here !== at(column - 1, row)) line(outline, xs[column], ys[row], xs[column], ys[row + 1]);
      }
    }
    context.strokeStyle = ink.outline;
    context.lineWidth = ratio;
    // In the middle of the pixels, so that it is as thin and as strong everywhere.
    const middle = (Math.round(ratio) % 2) / 2;
    context.translate(middle, middle);
    context.stroke(outline);
    context.translate(-middle, -middle);
  }

  #drawBlasts(view, ink, ratio) {
    const context = this.#context;
    context.fillStyle = ink.blast;
    const half = Math.max(1.6, Math.min(3.2, 0.08 * this.#map.frame_size_px[0] * view.scale / ratio)) * ratio;
    for (const [x, y] of this.#map.blasts_px) {
      const [middleX, middleY] = [view.x(x), view.y(y)];
      context.beginPath();
      context.moveTo(middleX, middleY - half);
      context.lineTo(middleX + half, middleY);
      context.lineTo(middleX, middleY + half);
      context.lineTo(middleX - half, middleY);
      context.fill();
    }
  }

  #drawFrame(view, ink, ratio) {
    if (!this.#sight.frame_px) return;
    const context = this.#context;
    const [left, top, right, bottom] = this.#sight.frame_px;
    // On ground so wide that a frame is a speck, it is still a frame to be seen.
    const [width, height] = [Math.max((right - left) * view.scale, 7 * ratio), Math.max((bottom - top) * view.scale, 5 * ratio)];
    const box = [view.x((left + right) / 2) - width / 2, view.y((top + bottom) / 2) - height / 2, width, height];
    context.lineWidth = 4 * ratio;
    context.strokeStyle = ink.rim;
    context.strokeRect(...box);
    context.lineWidth = 2 * ratio;
    context.strokeStyle = ink.frame;
    context.strokeRect(...box);
  }

  #drawScale(view, ink, ratio, height, width) {
    if (!this.#map.um_per_px) return;
    const context = this.#context;
    const most = (SCALE_SHARE * width / view.scale) * this.#map.um_per_px;
    const power = 10 ** Math.floor(Math.log10(most));
    const um = [5, 2, 1].map((step) => step * power).find((step) => step <= most);
    const [left, bottom, long] = [8 * ratio, height - 8 * ratio, (um / this.#map.um_per_px) * view.scale];
    context.font = `600 ${11 * ratio}px system-ui, "Noto Sans", "DejaVu Sans", sans-serif`;
    context.fillStyle = ink.frame;
    context.fillRect(left, bottom - 2 * ratio, long, 2 * ratio);
    context.textBaseline = "bottom";
    context.fillText(length(um), left + long + 6 * ratio, bottom + 4 * ratio);
  }
}

const unpacked = ({ squares, columns, rows }) => {
  const bytes = atob(squares);
  return Uint8Array.from({ length: columns * rows }, (_, place) => (bytes.charCodeAt(place >> 3) >> (7 - (place & 7))) & 1);
};

const line = (path, x0, y0, x1, y1) => {
  path.moveTo(x0, y0);
  path.lineTo(x1, y1);
};

const inks = (element) => {
  const style = getComputedStyle(element);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ground: colour("covered"), outline: colour("bar"), blast: colour("blast"), frame: colour("ink"), rim: colour("card"),
  };
};
