// The latest cells by class. Every class has its place from the start, so that nothing moves as they come.

import { find, keyed, make, mark, say } from "./element.js";
import { className, count, wholePercent } from "./words.js";

const REFRESH_MS = 1000;
// Fewer than the station keeps: what is asked for is then still there on a fast slide.
const SHOWN = 12;
const APART = ["doubtful", "out_of_distribution"];
// A person's answers: these have a place only where there are any.
const SAID = ["artefact", "unclassified"];
const SAID_COUNTS = { artefact: "artefacts", unclassified: "unclassified" };

export class Gallery {
  #onCell;
  #counted = "";
  #loading = false;
  #next = 0;
  #state = null;

  constructor({ onCell }) {
    this.#onCell = onCell;
  }

  update(state) {
    this.#state = state;
    const { slide } = state;
    const counted = slide
      ? [state.health.boot, slide.name, slide.opened_at, slide.named_cells, slide.doubtful_cells, slide.out_of_distribution_cells, slide.artefacts, slide.unclassified].join()
      : "none";
    this.#titles();
    if (counted !== this.#counted && !this.#loading && performance.now() >= this.#next) this.#load(counted);
  }

  async #load(counted) {
    this.#loading = true;
    this.#next = performance.now() + REFRESH_MS;
    try {
      const answer = await fetch("api/gallery", { cache: "no-store" });
      if (!answer.ok) return;
      const groups = await answer.json();
      this.#counted = counted;
      this.#fill(new Map(groups.map((group) => [group.name, group.cells])));
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the connection says for itself that it is lost
    } finally {
      this.#loading = false;
    }
  }

  #elements() {
    const { slide, bundle } = this.#state;
    const said = SAID.filter((name) => slide && slide[SAID_COUNTS[name]] > 0);
    return keyed(find("groups"), [...bundle.classes, ...APART, ...said], (name) =>
      make("section", { className: "group", data: { kind: name } },
        make("h3", {}, make("span", { className: "title" }), make("span", { className: "count quiet" })),
        make("ul", { ariaLabel: className(name) })));
  }

  #titles() {
    const { slide, bundle } = this.#state;
    const rows = new Map((slide?.differential ?? []).map((row) => [row.class, row.count]));
    rows.set("doubtful", slide?.doubtful_cells ?? 0);
    rows.set("out_of_distribution", slide?.out_of_distribution_cells ?? 0);
    for (const name of SAID) rows.set(name, slide?.[SAID_COUNTS[name]] ?? 0);
    for (const element of this.#elements()) {
      const name = element.dataset.kind;
      const blast = bundle.blasts.includes(name);
      const [title, number] = element.firstElementChild.children;
      mark(element, "blast", blast);
      say(title, blast ? `◆ ${className(name)}` : className(name));
      say(number, count(rows.get(name) ?? 0));
    }
  }

  #fill(cells) {
    for (const element of this.#elements()) {
      const group = (cells.get(element.dataset.kind) ?? []).filter((cell) => cell.id).slice(0, SHOWN);
      const byId = new Map(group.map((cell) => [cell.id, cell]));
      keyed(element.lastElementChild, [...byId.keys()], (id) => this.#thumb(byId.get(id)));
    }
  }

  #thumb(cell) {
    const { result } = cell;
    const words = `${className(result.class ?? "")}, ${wholePercent(result.probability ?? 0)}`;
    const picture = make("img", { src: `api/cells/${cell.id}.jpg`, alt: "", decoding: "async" });
    const button = make("button", { className: "thumb", type: "button", title: words, ariaLabel: words }, picture);
    button.addEventListener("click", () => this.#onCell(cell));
    const place = make("li", {}, button);
    picture.addEventListener("error", () => place.remove()); // its crop is no longer kept
    return place;
  }
}
