// The differential as it grows, and the blast share, both with their 95% intervals.

import { find, keyed, make, mark, say } from "./element.js";
import { className, count, interval, percent } from "./words.js";

export const showDifferential = ({ slide, bundle }) => {
  const named = slide?.named_cells ?? 0;
  const target = slide?.target_cells ?? 100;
  say(find("named"), count(named));
  say(find("target"), count(target));
  find("progress").max = target;
  find("progress").value = Math.min(named, target);

  const rows = new Map((slide?.differential ?? []).map((row) => [row.class, row]));
  const names = [...bundle.classes, ...[...rows.keys()].filter((name) => !bundle.classes.includes(name))];
  const elements = keyed(find("rows"), names, buildRow);
  names.forEach((name, i) => {
    fillRow(elements[i], { name, row: rows.get(name), named, blast: bundle.blasts.includes(name) });
  });

  say(find("aside"), aside(slide));
  showBlasts(slide, bundle);
};

const buildRow = () =>
  make("li", { className: "row" },
    make("span", { className: "name" }),
    make("span", { className: "count" }),
    make("span", { className: "share" }),
    make("span", { className: "interval" }),
    make("span", { className: "track", ariaHidden: "true" },
      make("span", { className: "fill" }), make("span", { className: "whisker" })));

const fillRow = (element, { name, row, named, blast }) => {
  const [words, number, share, range, track] = element.children;
  const [fill, whisker] = track.children;
  const known = named > 0 && row;
  const title = className(name);
  mark(element, "blast", blast);
  mark(element, "empty", !known);
  say(words, blast ? `◆ ${title}` : title);
  say(number, count(row?.count ?? 0));
  say(share, known ? percent(row.share) : "–");
  say(range, known ? interval(row.low, row.high) : "");
  fill.style.width = known ? `${100 * row.share}%` : "0";
  whisker.style.left = known ? `${100 * row.low}%` : "0";
  whisker.style.width = known ? `${100 * (row.high - row.low)}%` : "0";
  const spoken = known
    ? `${title}: ${row.count} of ${named} cells, ${percent(row.share)}, 95% interval ${interval(row.low, row.high)}`
    : `${title}: none of ${named} cells`;
  if (element.getAttribute("aria-label") !== spoken) element.setAttribute("aria-label", spoken);
};

const aside = (slide) => {
  if (!slide) return "\u00a0";
  return `Not counted: ${count(slide.doubtful_cells)} doubtful, ${count(slide.out_of_distribution_cells)} unknown`;
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
};

const correctedInterval = (known, blasts) => {
  if (!known) return "\u00a0";
  if (blasts.corrected === null) return "cannot be told";
  if (blasts.corrected_low === null) return "\u00a0";
  return interval(blasts.corrected_low, blasts.corrected_high);
};
