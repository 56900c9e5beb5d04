// The picture with its boxes: the last field with what was found in it, or what the camera sees now.

import { find, say } from "./element.js";
import { cellName, count, covered, focusTrend, refusalHint, refusalName, wholePercent } from "./words.js";

const CAMERA_INTERVAL_MS = 250;
// Over a bright smear in either theme: dark lines with a light rim.
const INK = { WBC: "#2f1a8c", blast: "#8f3500", unknown: "#4a4038", RBC: "#98203f", platelet: "#00636b" };
const RIM = "rgb(255 255 255 / .9)";

export class Picture {
  #canvas = find("picture");
  #stage = this.#canvas.parentElement;
  #context = this.#canvas.getContext("2d");
  #kinds = new Set(["WBC"]);
  #mode = "field";
  #state = null;
  #field = null;
  #shown = null; // {bitmap, field} that belong together; field is null for the camera's own picture
  #loading = false;
  #wanted = null;
  #cameraTag = "";
  #onCell;

  constructor({ onCell }) {
    this.#onCell = onCell;
    for (const button of document.querySelectorAll("button[data-kind]")) {
      button.addEventListener("click", () => this.#toggleKind(button));
    }
    find("show-field").addEventListener("click", () => this.#show("field"));
    find("show-camera").addEventListener("click", () => this.#show("camera"));
    this.#canvas.addEventListener("click", (event) => this.#choose(event));
    new ResizeObserver(() => this.#draw()).observe(this.#stage);
    setInterval(() => this.#pollCamera(), CAMERA_INTERVAL_MS);
  }

  update(state, field) {
    this.#state = state;
    this.#field = field;
    if (this.#mode === "field" && field && field.sequence !== this.#shown?.field?.sequence) this.#load(field);
    this.#caption();
  }

  // A station that started anew counts its fields anew: what is shown is not the field of that number.
  forget() {
    this.#shown = null;
    this.#cameraTag = "";
    this.#wanted = null;
  }

  #toggleKind(button) {
    const { kind } = button.dataset;
    const on = !this.#kinds.delete(kind);
    if (on) this.#kinds.add(kind);
    button.setAttribute("aria-pressed", String(on));
    this.#draw();
  }

  #show(mode) {
    this.#mode = mode;
    find("show-field").setAttribute("aria-pressed", String(mode === "field"));
    find("show-camera").setAttribute("aria-pressed", String(mode === "camera"));
    say(find("view-title"), mode === "field" ? "Field" : "Camera");
    for (const button of document.querySelectorAll("button[data-kind]")) button.disabled = mode === "camera";
    this.#shown = null;
    this.#cameraTag = "";
    if (mode === "field" && this.#field) this.#load(this.#field);
    else this.#pollCamera();
    this.#caption();
  }

  async #load(field) {
    this.#wanted = field;
    if (this.#loading) return;
    this.#loading = true;
    try {
      while (this.#wanted && this.#mode === "field") {
        const next = this.#wanted;
        this.#wanted = null;
        const answer = await fetch(`api/field.jpg?sequence=${next.sequence}`);
        if (!answer.ok) continue; // it is no longer kept; the next state names a newer one
        const bitmap = await createImageBitmap(await answer.blob());
        if (this.#mode === "field") this.#take(bitmap, next);
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the connection says for itself that it is lost
    } finally {
      this.#loading = false;
    }
  }

  async #pollCamera() {
    if (this.#mode !== "camera" || this.#loading || document.hidden || document.body.dataset.link !== "live") return;
    this.#loading = true;
    try {
      const headers = this.#cameraTag ? { "If-None-Match": this.#cameraTag } : {};
      const answer = await fetch("api/frame.jpg", { headers, cache: "no-store" });
      if (answer.status !== 200) return;
      const bitmap = await createImageBitmap(await answer.blob());
      if (this.#mode !== "camera") return;
      this.#cameraTag = answer.headers.get("ETag") ?? "";
      this.#take(bitmap, null);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    } finally {
      this.#loading = false;
      if (this.#mode === "field" && this.#field && !this.#shown) this.#load(this.#field);
    }
  }

  #take(bitmap, field) {
    this.#shown?.bitmap.close();
    this.#shown = { bitmap, field };
    this.#draw();
    this.#caption();
  }

  #caption() {
    const camera = this.#state?.camera;
    const refused = camera?.refusal ? refusalName(camera.refusal) : "";
    const hint = camera?.refusal ? refusalHint(camera.refusal) : "";
    const field = this.#shown?.field;
    if (this.#mode === "camera") {
      say(find("caption"), !camera ? "\u00a0" : refused ? `Not taken: ${refused.toLowerCase()}` : "Taken as a field");
      say(find("caption-hint"), hint);
    } else {
      say(find("caption"), field ? `Field ${count(field.field)}${this.#elsewhere(field)}: ${this.#found(field)}` : "\u00a0");
      say(find("caption-hint"), refused ? `Now: ${refused.toLowerCase()}, ${hint}` : "");
    }
    this.#ground();
    say(find("focus-trend"), focusTrend(this.#state?.focus_trend));
    find("focus-trend").dataset.kind = this.#state?.focus_trend ?? "";
    say(find("picture-none"), this.#mode === "field" ? "Waiting for the first field" : "Waiting for the camera");
    find("picture-none").hidden = this.#shown !== null;
    this.#canvas.hidden = this.#shown === null;
    this.#canvas.setAttribute("aria-label", this.#label(field));
  }

  #ground() {
    const ground = this.#state?.slide?.ground;
    say(find("ground"), ground ? covered(ground) : "");
    find("ground").title = ground
      ? `${ground.frames.toFixed(1)} frames' worth, each place once; the place was lost ${count(ground.tracking_losses)} times`
      : "";
  }

  #elsewhere(field) {
    return field.slide === this.#state?.slide?.name ? "" : ` of ${field.slide}`;
  }

  #found(field) {
    const number = (kind) => field.cells.filter((cell) => cell.result.object === kind).length;
    return `${number("WBC")} white, ${number("RBC")} red, ${number("platelet")} platelets`;
  }

  #label(field) {
    if (!this.#shown) return "No picture yet";
    if (!field) return "What the camera sees now";
    const whites = field.cells.filter((cell) => cell.result.object === "WBC");
    return `Field ${field.field}: ${whites.map(({ result }) => label(result)).join(", ") || "no white cells"}`;
  }

  // The scale from frame pixels to the canvas's own; the canvas fills the stage as far as its shape allows.
  #fit(width, height) {
    const ratio = window.devicePixelRatio || 1;
    const scale = Math.min(this.#stage.clientWidth / width, this.#stage.clientHeight / height);
    const shown = [Math.floor(width * scale), Math.floor(height * scale)];
    const held = shown.map((side) => Math.round(side * ratio));
    if (this.#canvas.width !== held[0] || this.#canvas.height !== held[1]) {
      [this.#canvas.width, this.#canvas.height] = held;
      this.#canvas.style.width = `${shown[0]}px`;
      this.#canvas.style.height = `${shown[1]}px`;
    }
    return held[0] / width;
  }

  #draw() {
    const { bitmap, field } = this.#shown ?? {};
    if (!bitmap || !this.#stage.clientWidth) return;
    const scale = this.#fit(field?.width_px ?? bitmap.width, field?.height_px ?? bitmap.height);
    const context = this.#context;
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, this.#canvas.width, this.#canvas.height);
    const cells = (field?.cells ?? []).filter((cell) => this.#kinds.has(cell.result.object));
    const [whites, others] = [cells.filter(isWhite), cells.filter((cell) => !isWhite(cell))];
    for (const { result } of [...others, ...whites]) this.#box(result, scale);
    const taken = [];
    for (const { result } of whites) this.#name(result, scale, taken);
    this.#canvas.dataset.sequence = field ? String(field.sequence) : "camera";
    this.#canvas.dataset.boxes = String(cells.length);
  }

  #box(result, scale) {
    const context = this.#context;
    const ratio = window.devicePixelRatio || 1;
    const [x0, y0, x1, y1] = result.box_px.map((edge) => edge * scale);
    const white = result.object === "WBC";
    const dash = result.out_of_distribution ? [2, 5] : result.doubtful ? [9, 6] : [];
    context.setLineDash([]);
    if (white) {
      context.lineWidth = 5 * ratio;
      context.strokeStyle = RIM;
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    context.setLineDash(dash.map((part) => part * ratio));
    context.lineWidth = (white ? 2.5 : 1) * ratio;
    context.strokeStyle = this.#ink(result);
    context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    context.setLineDash([]);
  }

  #name(result, scale, taken) {
    const context = this.#context;
    const ratio = window.devicePixelRatio || 1;
    const words = this.#isBlast(result) ? `◆ ${label(result)}` : label(result);
    context.font = `600 ${13 * ratio}px system-ui, "Noto Sans", "DejaVu Sans", sans-serif`;
    const [width, height] = [context.measureText(words).width + 12 * ratio, 21 * ratio];
    const [x0, y0, , y1] = result.box_px.map((edge) => edge * scale);
    const x = Math.max(0, Math.min(x0 - 2 * ratio, this.#canvas.width - width));
    // Above the box, or below it, or inside it: the first place that is in the picture and free.
    const places = [y0 - height, y1, y0, y1 - height].filter((top) => top >= 0 && top + height <= this.#canvas.height);
    const free = (top) => taken.every((other) =>
      x + width <= other.x || other.x + other.width <= x || top + height <= other.y || other.y + height <= top);
    const y = places.find(free) ?? places[0] ?? 0;
    taken.push({ x, y, width });
    context.fillStyle = this.#ink(result);
    context.beginPath();
    context.roundRect(x, y, width, height, 4 * ratio);
    context.fill();
    context.fillStyle = "#fff";
    context.textBaseline = "middle";
    context.fillText(words, x + 6 * ratio, y + height / 2 + ratio / 2);
  }

  #ink(result) {
    if (result.object !== "WBC") return INK[result.object];
    if (result.out_of_distribution) return INK.unknown;
    return this.#isBlast(result) ? INK.blast : INK.WBC;
  }

  #isBlast(result) {
    return !result.out_of_distribution && (this.#state?.bundle.blasts.includes(result.class) ?? false);
  }

  #choose(event) {
    const field = this.#shown?.field;
    if (!field) return;
    const scale = field.width_px / this.#canvas.clientWidth;
    const [x, y] = [event.offsetX * scale, event.offsetY * scale];
    const hit = field.cells.find(({ id, result: { object, box_px: [x0, y0, x1, y1] } }) =>
      id && object === "WBC" && x0 <= x && x <= x1 && y0 <= y && y <= y1);
    if (hit) this.#onCell(hit);
  }
}

const isWhite = (cell) => cell.result.object === "WBC";

const label = (result) => {
  const sure = result.probability === null || result.out_of_distribution ? "" : ` ${wholePercent(result.probability)}`;
  return cellName(result) + sure;
};
