// Opening and closing a slide.

import { order } from "./connection.js";
import { find, say } from "./element.js";
import { clockMinutes, count } from "./words.js";

export class SlideControl {
  #state = null;
  #mayControl = false;
  #live = false;

  constructor() {
    find("slide-open").addEventListener("click", () => this.#ask("open"));
    find("slide-close").addEventListener("click", () => this.#ask("close"));
    this.#answer("open", () => ({ slide: find("open-name").value.trim() || null }));
    this.#answer("close", () => ({}));
    for (const button of document.querySelectorAll("[data-cancel]")) {
      button.addEventListener("click", () => button.closest("dialog").close());
    }
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
    const open = slide?.state === "open";
    const able = this.#live && this.#mayControl && this.#state !== null;
    const why = this.#mayControl ? "" : "Slides are opened and closed at the station's own screen.";
    for (const [name, on] of [["slide-open", able && !open], ["slide-close", able && open]]) {
      find(name).disabled = !on;
      find(name).title = why;
    }
    find("slide-open").hidden = open;
    find("slide-close").hidden = !open;
    if (!this.#state) return;
    say(find("slide-name"), slide ? slide.name : "No slide");
    say(find("slide-note"), slide ? note(slide) : "Open one to begin counting");
  }

  #ask(which) {
    say(find(`${which}-fault`), "");
    const slide = this.#state?.slide;
    if (which === "close" && slide) say(find("close-words"), closing(slide));
    if (which === "open") find("open-name").value = "";
    find(`${which}-dialog`).showModal();
  }

  #answer(which, body) {
    const dialog = find(`${which}-dialog`);
    dialog.querySelector("form").addEventListener("submit", async (event) => {
      event.preventDefault();
      const go = find(`${which}-go`);
      go.disabled = true;
      const fault = await order(`api/slide/${which}`, body());
      go.disabled = false;
      say(find(`${which}-fault`), fault);
      if (!fault) dialog.close();
    });
  }
}

const note = (slide) => {
  const fields = `${count(slide.fields)} ${slide.fields === 1 ? "field" : "fields"}`;
  const since = clockMinutes(new Date(slide.opened_at));
  return slide.state === "open" ? `open since ${since} · ${fields}` : `closed · ${fields}`;
};

const closing = (slide) => {
  const short = slide.target_cells - slide.named_cells;
  const reached = short > 0 ? `${count(short)} short of the ${count(slide.target_cells)} that it aims at` : "its aim is reached";
  return `${slide.name} has ${count(slide.named_cells)} named cells, ${reached}. Closed, its differential grows no more.`;
};
