// What the page says: the words for what the station counts in codes, and the forms of its numbers.

const CLASSES = {
  neutrophil: "Neutrophil", band_neutrophil: "Band neutrophil", lymphocyte: "Lymphocyte",
  monocyte: "Monocyte", eosinophil: "Eosinophil", basophil: "Basophil",
  immature_granulocyte: "Immature granulocyte", erythroblast: "Erythroblast", blast: "Blast",
  all: "ALL", aml: "AML", cll: "CLL", cml: "CML", normal: "Normal", healthy: "Healthy",
  l1: "L1", l2: "L2", l3: "L3", early_pre_b: "Early pre-B", pre_b: "Pre-B", pro_b: "Pro-B", benign: "Benign",
  doubtful: "Doubtful", out_of_distribution: "Unknown to the network",
  artefact: "Artefact", unclassified: "Cannot be named",
};

// In the order of the gates. Each with what the person at the microscope can do about it.
const REFUSALS = {
  moving: ["Moving", "hold the stage still"],
  out_of_focus: ["Out of focus", "turn the fine focus"],
  badly_exposed: ["Badly lit", "set the lamp"],
  no_sample: ["No sample", "find the smear"],
  strange_colour: ["Strange colour", "check stain, lamp"],
  already_counted: ["Already counted", "move on"],
};

// Not gates, but why good frames are not counted; told when they happen.
const NOT_COUNTED = {
  no_slide_open: ["No slide is open", "open or scan one"],
  slide_paused: ["The slide is paused", "resume it"],
  not_analysed: ["Not analysed", "see what the station needs"],
};

const FOCUS = { improving: "▲ getting sharper", steady: "steady focus", worsening: "▼ getting softer" };
const CAMERAS = { streaming: "working", lost: "lost", finished: "at its end", starting: "starting" };
const STAGES = { frame_to_record: "in all" };
const BROKERS = { connected: "connected", disconnected: "away", off: "none set" };

const plain = (code) => {
  const words = String(code).replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
};

export const className = (name) => CLASSES[name] ?? plain(name);
export const refusalOrder = Object.keys(REFUSALS);
const refusal = (reason) => REFUSALS[reason] ?? NOT_COUNTED[reason];
export const refusalName = (reason) => refusal(reason)?.[0] ?? plain(reason);
export const refusalHint = (reason) => refusal(reason)?.[1] ?? "";
export const focusTrend = (trend) => FOCUS[trend] ?? "";
export const cameraState = (state) => CAMERAS[state] ?? plain(state);
export const brokerState = (state) => BROKERS[state] ?? plain(state);
export const stageName = (stage) => STAGES[stage] ?? stage.replaceAll("_", " ");

export const percent = (share) => `${(100 * share).toFixed(1)}%`;
export const wholePercent = (share) => `${Math.round(100 * share)}%`;
// A drawn probability knows no more than this of its ends.
export const probability = (share) =>
  share > 0.99 ? "> 99%" : share < 0.01 ? "< 1%" : `${Math.round(100 * share)}%`;
export const interval = (low, high) => `${(100 * low).toFixed(1)} – ${(100 * high).toFixed(1)}`;
// How much of the smear the slide's fields have shown, each place once.
export const covered = ({ mm2, frames, islands }) => {
  const area = mm2 === null ? `${frames.toFixed(frames < 10 ? 1 : 0)} frames` : `${mm2.toPrecision(2)} mm²`;
  return `${area} covered${islands > 1 ? ` in ${islands} pieces` : ""}`;
};
export const length = (um) => (um >= 1000 ? `${Number((um / 1000).toPrecision(2))} mm` : `${Number(um.toPrecision(2))} µm`);
export const count = (number) => number.toLocaleString("en", { useGrouping: true });
// What a station counts for months must fit where it stands: three figures from ten thousand on.
const threeFigures = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
export const tally = (number) => (number < 10_000 ? count(number) : threeFigures.format(number));
export const bytes = (number) =>
  number >= 1e9 ? `${(number / 1e9).toFixed(1)} GB` : number >= 1e6 ? `${Math.round(number / 1e6)} MB` : `${Math.ceil(number / 1e3)} kB`;
export const milliseconds = (ms) => (ms >= 100 ? Math.round(ms) : ms.toFixed(1));
export const clock = (date) => date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
export const clockMinutes = (date) => date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

export const duration = (seconds) => {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
};

// How one white cell is called on its box and under its crop. What it could not know is never a bare class.
export const cellName = (result) => {
  if (result.out_of_distribution) return "Unknown";
  if (!result.class) return "White cell";
  return result.doubtful ? `${className(result.class)}?` : className(result.class);
};
