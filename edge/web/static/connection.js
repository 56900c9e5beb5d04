// The stream of states from the station, and the page's knowledge of whether it still flows.

const STALE_MS = 4000;
const RETRY_MS = 1000;

// Calls back with "live", or "lost" with a reason where the station itself gives one.
export const connect = ({ onState, onHello, onLink }) => {
  let source = null;
  let watchdog = 0;
  let attempt = 0;

  const lost = (reason) => {
    source?.close();
    source = null;
    clearTimeout(watchdog);
    onLink("lost", reason);
    clearTimeout(attempt);
    attempt = setTimeout(open, RETRY_MS);
  };

  const alive = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => lost("the station stopped answering"), STALE_MS);
  };

  const open = () => {
    const opened = new EventSource("api/events");
    source = opened;
    alive();
    opened.addEventListener("hello", (event) => onHello(JSON.parse(event.data)));
    opened.addEventListener("state", (event) => {
      alive();
      onLink("live");
      onState(JSON.parse(event.data));
    });
    opened.addEventListener("error", async () => {
      if (source !== opened) return;
      const refused = opened.readyState === EventSource.CLOSED;
      lost(refused && (await answers()) ? "too many other pages watch it; close one" : "");
    });
  };

  open();
};

const answers = async () => {
  try {
    return (await fetch("api/health", { cache: "no-store" })).ok;
  } catch {
    return false;
  }
};

export const order = async (path, body = {}) => (await ask(path, body)).fault;

// An order that is answered: {fault: "" or what the station says, answer: its JSON where it gives one}.
export const ask = async (path, body = {}) => {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Leukoscope-Page": "1" },
      body: JSON.stringify(body),
    });
    if (answer.status === 204) return { fault: "" };
    const told = await answer.json();
    return answer.ok ? { fault: "", answer: told } : { fault: `${told.fault} ${told.remedy}`.trim() };
  } catch {
    return { fault: "The station did not answer. Try again when the connection is back." };
  }
};
