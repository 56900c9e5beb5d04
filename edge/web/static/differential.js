// The differential as it grows, as counted or corrected, the blast share, and when enough is counted.

import { find, keyed, make, mark, say } from "./element.js";
import { className, count, interval, percent, probability } from "./words.js";

export class Differential {
  #state = null;
  #corrected = false;

  constructor() {
    find("show-counted").addEventListener("click", () => this.#choose(false));
    find("show-corrected").addEventListener("click", () => this.#choose(true));
  }

  update(state) {
    this.#state = state;
    const { slide, bundle } = state;
    const named = slide?.named_cells ?? 0;
    const target = slide?.target_cells ?? state.targets[0];
    say(find("named"), count(named));
    say(find("target"), count(target));
    say(find("advice"), advice(slide));
    const enough = slide?.advice && slide.advice.decision !== "count_on";
    mark(find("advice"), "enough", enough);
    find("advice").title = enough ? "The count may end here; you decide" : "";
    find("progress").max = target;
    find("progress").value = Math.min(named, target);

    const rows = new Map((slide?.differential ?? []).map((row) => [row.class, row]));
    const names = [...bundle.classes, ...[...rows.keys()].filter((name) => !bundle.classes.includes(name))];
    const elements = keyed(find("rows"), names, buildRow);
    names.forEach((name, i) => {
      const shown = figures(rows.get(name), named, this.#corrected);
      fillRow(elements[i], { name, named, shown, number: rows.get(name)?.count ?? 0, blast: bundle.blasts.includes(name) });
    });

    say(find("aside"), aside(slide));
    showBlasts(slide, bundle);
  }

  #choose(corrected) {
    this.#corrected = corrected;
    find("show-counted").setAttribute("aria-pressed", String(!corrected));
    find("show-corrected").setAttribute("aria-pressed", String(corrected));
    if (this.#state) this.update(this.#state);
  }
}

const buildRow = () =>
  make("li", { className: "row" },
    make("span", { className: "name" }),
    make("span", { className: "count" }),
    make("span", { className: "share" }),
    make("span", { className: "interval" }),
    make("span", { className: "track", ariaHidden: "true" },
      make("span", { className: "fill" }), make("span", { className: "whisker" })));

// {share, low, high, words} of a row, or null where there is nothing to show.
const figures = (row, named, corrected) => {
  if (!row || named === 0) return null;
  if (!corrected) return { share: row.share, low: row.low, high: row.high, words: "" };
  if (row.corrected === null) return null;
  return { share: row.corrected, low: row.corrected_low, high: row.corrected_high, words: "corrected " };
};

const fillRow = (element, { name, named, shown, number, blast }) => {
  const [words, counted, share, range, track] = element.children;
  const [fill, whisker] = track.children;
  const title = className(name);
  mark(element, "blast", blast);
  mark(element, "empty", !shown);
  say(words, blast ? `◆ ${title}` : title);
  say(counted, count(number));
  say(share, shown ? percent(shown.share) : "–");
  say(range, shown ? interval(shown.low, shown.high) : "");
  fill.style.width = shown ? `${100 * shown.share}%` : "0";
  whisker.style.left = shown ? `${100 * shown.low}%` : "0";
  whisker.style.width = shown ? `${100 * (shown.high - shown.low)}%` : "0";
  const spoken = shown
    ? `${title}: ${number} of ${named} cells, ${shown.words}${percent(shown.share)}, 95% interval ${interval(shown.low, shown.high)}`
    : `${title}: ${number === 0 ? "none" : number} of ${named} cells`;
  if (element.getAttribute("aria-label") !== spoken) element.setAttribute("aria-label", spoken);
};

// What the stop rule says, to the person: it decides nothing.
const advice = (slide) => {
  if (!slide?.advice) return "\u00a0";
  const { decision, cells } = slide.advice;
  if (decision === "narrow_enough") return `Narrow enough at ${count(cells)}`;
  if (decision === "target_reached") return "Aim reached";
  return `${count(Math.max(0, slide.target_cells - slide.named_cells))} to go`;
};

const aside = (slide) => {
  if (!slide) return "\u00a0";
  const apart = [
    [slide.doubtful_cells, "doubtful", true], [slide.out_of_distribution_cells, "unknown", true],
    [slide.artefacts, slide.artefacts === 1 ? "artefact" : "artefacts", slide.artefacts > 0],
    [slide.unclassified, "not to be named", slide.unclassified > 0],
  ];
  return `Not counted: ${apart.filter(([, , told]) => told).map(([number, words]) => `${count(number)} ${words}`).join(", ")}`;
};

const showBlasts = (slide, bundle) => {
  const blasts = slide?.blasts;
  find("blasts").hidden = bundle.blasts.length === 0;
  const known = blasts && slide.named_cells > 0;
  say(find("blast-raw"), known ? percent(blasts.share) : "–");
  say(find("blast-raw-interval"), known ? interval(blasts.low, blasts.high) : "\u00a0");
  const corrected = known && blasts.corrected !== null;
  say(find("blast-corrected"), corrected ? percent(blasts.corrected) : "–");
  say(find("blast-corrected-interval"), correctedInterval(known, blasts));
  showPasses(known ? blasts.passes : []);
};

const correctedInterval = (known, blasts) => {
  if (!known) return "\u00a0";
  if (blasts.corrected === null) return "cannot be told";
  if (blasts.corrected_low === null) return "\u00a0";
  return interval(blasts.corrected_low, blasts.corrected_high);
};

const showPasses = (passes) => {
  const places = passes.length ? passes.map(({ threshold }) => String(threshold)) : ["none"];
  const elements = keyed(find("passes"), places, () =>
    make("li", {}, make("span", { className: "threshold" }), make("span", { className: "probability" })));
  elements.forEach((element, i) => {
    const [threshold, chance] = element.children;
    say(threshold, passes.length ? `${+(100 * passes[i].threshold).toFixed(1)}%:` : "cannot be told");
    say(chance, passes.length ? probability(passes[i].probability) : "");
  });
};
