// One cell seen closely: its crop, every class with its probability, and a person's verdict on it.

import { order } from "./connection.js";
import { find, keyed, make, mark, say } from "./element.js";
import { className, percent } from "./words.js";

export class CellDialog {
  #cell = null;
  #verdicts = new Map(); // what was said here, until the station's own lists say it too

  constructor() {
    for (const button of document.querySelectorAll("[data-verdict]")) {
      button.addEventListener("click", () => this.#judge(button.dataset.verdict));
    }
  }

  show(cell, state) {
    this.#cell = cell;
    const { id, result } = cell;
    const { blasts } = state.bundle;
    const picture = find("cell-picture");
    picture.alt = "The cell, cut from its field";
    picture.onerror = () => (picture.alt = "The station no longer keeps the picture of this cell");
    picture.src = `api/cells/${id}.jpg`;
    say(find("cell-title"), title(result));
    say(find("cell-fault"), "");
    const probabilities = Object.entries(result.probabilities ?? {}).sort(([, a], [, b]) => b - a);
    const rows = keyed(find("cell-rows"), probabilities.map(([name]) => name), () =>
      make("li", { className: "row" },
        make("span", { className: "name" }), make("span", { className: "share" }),
        make("span", { className: "track", ariaHidden: "true" }, make("span", { className: "fill" }))));
    probabilities.forEach(([name, probability], i) => {
      const [words, share, track] = rows[i].children;
      mark(rows[i], "blast", blasts.includes(name));
      say(words, blasts.includes(name) ? `◆ ${className(name)}` : className(name));
      say(share, percent(probability));
      track.firstElementChild.style.width = `${100 * probability}%`;
    });
    this.update(state);
    find("cell-dialog").showModal();
  }

  update(state) {
    if (!this.#cell) return;
    const verdict = this.#verdict();
    const open = ["open", "paused"].includes(state.slide?.state);
    for (const button of document.querySelectorAll("[data-verdict]")) {
      button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
      button.disabled = !open;
      button.title = open ? "" : "The slide of this cell is closed";
    }
    say(find("cell-note"), verdict ? SAID[verdict] : note(this.#cell.result));
  }

  #verdict() {
    return this.#verdicts.has(this.#cell.id) ? this.#verdicts.get(this.#cell.id) : this.#cell.verdict;
  }

  // Pressed again, a verdict is taken back.
  async #judge(verdict) {
    const cell = this.#cell;
    const said = this.#verdict() === verdict ? null : verdict;
    const fault = await order(`api/cells/${cell.id}/verdict`, { verdict: said });
    say(find("cell-fault"), fault);
    if (fault) return;
    this.#verdicts.set(cell.id, said);
    for (const button of document.querySelectorAll("[data-verdict]")) {
      button.setAttribute("aria-pressed", String(button.dataset.verdict === said));
    }
    say(find("cell-note"), said ? SAID[said] : note(cell.result));
  }
}

const SAID = {
  artefact: "You called it an artefact: it stands under no class.",
  unclassified: "You said that it cannot be named: it stands under no class.",
};

const title = (result) => {
  if (result.out_of_distribution) return "Unknown to the network";
  return result.doubtful ? `Doubtful: ${className(result.class)}?` : className(result.class ?? "White cell");
};

const note = (result) => {
  if (result.out_of_distribution) return "Unlike anything the network was trained on: not counted, whatever the bars say.";
  if (result.doubtful) return "Not sure enough to be counted under a class.";
  return "Counted in the differential.";
};
