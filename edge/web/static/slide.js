// Opening, pausing, resuming and closing a slide, by hand and by a barcode scanner.

import { ask, order } from "./connection.js";
import { find, keyed, make, say } from "./element.js";
import { listenForScans } from "./scan.js";
import { clockMinutes, count } from "./words.js";

const SAID_MS = 6000;
const OTHER = { "slide-pause": "slide-resume", "slide-resume": "slide-pause" };

export class SlideControl {
  #state = null;
  #mayControl = false;
  #live = false;
  #scanned = "";
  #saying = 0;

  constructor() {
    find("slide-open").addEventListener("click", () => this.#ask("open"));
    find("slide-close").addEventListener("click", () => this.#ask("close"));
    for (const which of ["pause", "resume"]) {
      find(`slide-${which}`).addEventListener("click", () => this.#change(which));
    }
    this.#answer("open", "open", () => ({ slide: find("open-name").value.trim() || null, target_cells: chosenTarget() }));
    this.#answer("next", "open", () => ({ slide: this.#scanned }));
    this.#answer("close", "close", () => ({}));
    for (const button of document.querySelectorAll("[data-cancel]")) {
      button.addEventListener("click", () => button.closest("dialog").close());
    }
    listenForScans((code) => this.#scan(code));
  }

  hello({ may_control: mayControl }) {
    this.#mayControl = mayControl;
    this.#show();
  }

  link(live) {
    this.#live = live;
    this.#show();
  }

  update(state) {
    this.#state = state;
    this.#show();
  }

  #show() {
    const slide = this.#state?.slide;
    const is = (...states) => states.includes(slide?.state);
    const able = this.#live && this.#mayControl && this.#state !== null;
    const why = this.#mayControl ? "" : "Slides are opened and closed at the station's own screen.";
    const buttons = [
      ["slide-open", !is("open", "paused")], ["slide-pause", is("open")],
      ["slide-resume", is("paused")], ["slide-close", is("open", "paused")],
    ];
    const focused = document.activeElement;
    for (const [name, fits] of buttons) {
      find(name).disabled = !(able && fits);
      find(name).hidden = !fits;
      find(name).title = why;
    }
    // Where Pause becomes Resume, whoever pressed it finds the other in its place.
    if (focused.hidden && OTHER[focused.id]) find(OTHER[focused.id]).focus();
    if (!this.#state) return;
    say(find("slide-name"), slide ? slide.name : "No slide");
    find("slide-name").title = slide && slide.name !== slide.recorded_as ? `In the records: ${slide.recorded_as}` : "";
    say(find("slide-note"), slide ? note(slide) : "Scan or open one to begin");
    say(find("open-hidden"), this.#state.hides_ids ? "Records carry a pseudonym, never the id." : "Records carry the id as it is.");
  }

  #ask(which) {
    say(find(`${which}-fault`), "");
    const slide = this.#state?.slide;
    if (which === "close" && slide) say(find("close-words"), closing(slide));
    if (which === "open") {
      find("open-name").value = "";
      showTargets(this.#state.targets);
    }
    find(`${which}-dialog`).showModal();
  }

  #answer(which, what, body) {
    const dialog = find(`${which}-dialog`);
    dialog.querySelector("form").addEventListener("submit", async (event) => {
      event.preventDefault();
      const go = find(`${which}-go`);
      go.disabled = true;
      const fault = await order(`api/slide/${what}`, body());
      go.disabled = false;
      say(find(`${which}-fault`), fault);
      if (!fault) dialog.close();
    });
  }

  async #change(which) {
    const fault = await order(`api/slide/${which}`);
    if (fault) this.#say(fault, "bad");
  }

  async #scan(code) {
    if (!this.#live || !this.#state) return;
    if (!this.#mayControl) return this.#say("Slides are opened at the station's own screen.", "bad");
    const next = find("next-dialog");
    if (next.open && code === this.#scanned) return find("next-go").click();
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    const { fault, answer } = await ask("api/slide/scan", { slide: code });
    if (fault) return this.#say(fault, "bad");
    if (answer.outcome !== "ask") {
      return this.#say(answer.outcome === "same" ? `${code} goes on.` : `${code} is open.`, "good");
    }
    this.#scanned = code;
    say(find("next-fault"), "");
    say(find("next-words"), `You scanned ${code}. ${closing(this.#state.slide)} Scan it again, or press the button, to go over to it.`);
    next.showModal();
  }

  #say(words, kind) {
    const place = find("scanned");
    place.dataset.kind = kind;
    place.hidden = false;
    say(place, words);
    clearTimeout(this.#saying);
    this.#saying = setTimeout(() => { place.hidden = true; }, SAID_MS);
  }
}

const showTargets = (targets) => {
  const choices = keyed(find("targets"), targets.map(String), (key) => {
    const input = make("input", { type: "radio", name: "target", value: key });
    return make("label", {}, input, count(Number(key)));
  });
  choices[0].firstElementChild.checked = true;
};

const chosenTarget = () => Number(find("targets").querySelector(":checked").value);

const note = (slide) => {
  const fields = `${count(slide.fields)} ${slide.fields === 1 ? "field" : "fields"}`;
  const since = clockMinutes(new Date(slide.opened_at));
  const again = slide.resumed ? ", went on after a restart" : "";
  if (slide.state === "paused") return `paused · ${fields}`;
  return slide.state === "open" ? `open since ${since}${again} · ${fields}` : `closed · ${fields}`;
};

const closing = (slide) => {
  const short = slide.target_cells - slide.named_cells;
  const reached = short > 0 ? `${count(short)} short of the ${count(slide.target_cells)} that it aims at` : "its aim is reached";
  return `${slide.name} has ${count(slide.named_cells)} named cells, ${reached}. Closed, its differential grows no more.`;
};
