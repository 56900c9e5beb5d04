// How the station fares: the line at the top for what matters now, the panel for the rest.

import { find, keyed, make, mark, say } from "./element.js";
import {
  brokerState, bytes, cameraState, clock, count, duration, milliseconds, refusalHint, refusalName, refusalOrder, stageName, tally,
} from "./words.js";

const LITTLE_DISK_BYTES = 2e9;

export const showHealth = (state) => {
  const { health, camera, bundle } = state;
  say(find("place"), `${health.site} · ${health.station}`);
  ledger("saved", state.saved_records);
  ledger("acknowledged", health.broker === "off" ? null : state.acknowledged_records);
  ledger("waiting", health.outbox_records);
  ledger("discarded", health.discarded);
  find("discarded").dataset.kind = health.discarded > 0 ? "bad" : "";
  facts("frames", [
    ["seen", tally(health.frames), "", count(health.frames)],
    ["fields", tally(health.fields), "", count(health.fields)],
    ["refused", tally(sum(health.refusals)), "", count(sum(health.refusals))],
    ["dropped", tally(health.frames_dropped), "", `${count(health.frames_dropped)} came faster than they could be looked at`],
    ["in hand", tally(sum(health.queues)), "", queues(health.queues)],
  ]);
  showRefusals(health.refusals, camera.refusal);
  facts("machine", [
    ["camera", cameraState(health.camera), health.camera === "lost" ? "bad" : "", camera.name],
    ["broker", brokerState(health.broker), health.broker === "disconnected" ? "warn" : ""],
    ["disk free", bytes(health.disk_free_bytes), health.disk_free_bytes < LITTLE_DISK_BYTES ? "warn" : ""],
    ["memory", bytes(health.memory_bytes)],
    ["running", duration(health.uptime_s)],
  ]);
  facts("times", Object.entries(health.latencies).map(([stage, { p50_ms: half, p99_ms: most }]) =>
    [stageName(stage), String(milliseconds(half)), "", `99% within ${milliseconds(most)} ms`]));
  const lines = [`${bundle.name}, release ${bundle.release}`, bundle.id, state.engine, state.software];
  keyed(find("networks"), lines, (line) => make("li", { title: line }, line));
};

const sum = (counts) => Object.values(counts).reduce((total, number) => total + number, 0);
const queues = (depths) => Object.entries(depths).map(([name, depth]) => `${name}: ${depth}`).join(", ");

const ledger = (id, number) => {
  say(find(id), number === null ? "–" : tally(number));
  find(id).title = number === null ? "" : count(number);
};

const facts = (id, entries) => {
  const keys = entries.flatMap(([name]) => [`${name} `, name]);
  const elements = keyed(find(id), keys, (key) => make(key.endsWith(" ") ? "dt" : "dd"));
  entries.forEach(([name, words, kind = "", title = ""], i) => {
    const value = elements[2 * i + 1];
    say(elements[2 * i], name);
    say(value, words);
    value.dataset.kind = kind;
    value.title = title || words;
  });
};

const showRefusals = (refusals, now) => {
  const reasons = [...refusalOrder, ...Object.keys(refusals).filter((reason) => !refusalOrder.includes(reason))];
  const elements = keyed(find("refusals"), reasons, () =>
    make("li", {},
      make("span", { className: "words" }, make("span", { className: "why" }), make("span", { className: "hint" })),
      make("span", { className: "count" })));
  reasons.forEach((reason, i) => {
    const [words, number] = elements[i].children;
    mark(elements[i], "now", reason === now);
    say(words.children[0], refusalName(reason));
    say(words.children[1], refusalHint(reason) ? `: ${refusalHint(reason)}` : "");
    words.title = words.textContent; // where there is no room for all of it
    say(number, tally(refusals[reason] ?? 0));
    number.title = count(refusals[reason] ?? 0);
  });
};

// What stands in the strip: the gravest thing first. `link` is {kind: "live" | "lost" | "connecting", reason, since}.
export const showStrip = (state, link) => {
  const problems = state?.health.problems ?? [];
  const [kind, words] = verdict(state, link);
  find("strip").dataset.kind = kind;
  say(find("strip-words"), words);
  find("strip-more").hidden = link.kind !== "live" || problems.length < 2;
  say(find("strip-more"), `Show all ${problems.length}`);
  keyed(find("problems"), problems, (problem) => make("li", {}, problem));
};

const verdict = (state, link) => {
  if (link.kind === "lost") {
    const why = link.reason ? `: ${link.reason}` : "";
    const seen = state ? ` What is shown is from ${clock(link.since)}.` : "";
    return ["bad", `No connection to the station${why}.${seen} Trying again.`];
  }
  if (!state) return ["quiet", "Connecting to the station…"];
  const { health, slide } = state;
  if (health.problems.length) return ["warn", health.problems[0]];
  if (health.camera === "lost") return ["bad", "The camera is lost. Check its cable; the station tries again by itself."];
  if (health.broker === "disconnected") return ["warn", "The broker is away. Results are saved here and sent when it is back."];
  if (health.camera === "starting") return ["quiet", "The camera is starting."];
  if (health.camera === "finished") return ["quiet", "The camera's pictures are at their end."];
  if (state.notice) return ["warn", state.notice];
  if (slide?.state === "paused") return ["warn", "Paused: nothing is counted until you resume."];
  if (state.update) return ["quiet", state.update];
  if (slide?.state !== "open") return ["quiet", "No slide is open. Open one to count cells."];
  return ["good", "All is well: fields are taken and saved as they come."];
};
