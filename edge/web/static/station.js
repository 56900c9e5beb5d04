// Puts the page together: states come in, every part shows its share of them.

import { CellDialog } from "./cell.js";
import { connect } from "./connection.js";
import { Differential } from "./differential.js";
import { find } from "./element.js";
import { Gallery } from "./gallery.js";
import { Ground } from "./ground.js";
import { showHealth, showStrip } from "./health.js";
import { Picture } from "./picture.js";
import { SlideControl } from "./slide.js";

let state = null;
let link = { kind: "connecting", reason: "", since: new Date() };

const cellDialog = new CellDialog();
const onCell = (cell) => cellDialog.show(cell, state);
const picture = new Picture({ onCell });
const gallery = new Gallery({ onCell });
const ground = new Ground();
const slide = new SlideControl();
const differential = new Differential();

find("strip-more").addEventListener("click", () => find("problems-dialog").showModal());

connect({
  onHello: (hello) => {
    picture.forget();
    ground.forget();
    slide.hello(hello);
  },
  onState: (told) => {
    state = told.state;
    link = { kind: "live", reason: "", since: new Date() };
    document.title = `${state.health.station} · Leukoscope`;
    picture.update(state, told.field);
    slide.update(state);
    differential.update(state);
    cellDialog.update(state);
    gallery.update(state);
    ground.update(state);
    showHealth(state);
    showStrip(state, link);
  },
  onLink: (kind, reason = "") => {
    document.body.dataset.link = kind;
    slide.link(kind === "live");
    if (kind === "live") return;
    link = { kind, reason, since: link.since };
    showStrip(state, link);
  },
});
