// One cell seen closely: its crop, and every class with the probability that the network gives it.

import { find, keyed, make, mark, say } from "./element.js";
import { className, percent } from "./words.js";

export const showCell = ({ id, result }, blasts) => {
  const picture = find("cell-picture");
  picture.alt = "The cell, cut from its field";
  picture.onerror = () => (picture.alt = "The station no longer keeps the picture of this cell");
  picture.src = `api/cells/${id}.jpg`;
  say(find("cell-title"), title(result));
  say(find("cell-note"), note(result));
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
  find("cell-dialog").showModal();
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
