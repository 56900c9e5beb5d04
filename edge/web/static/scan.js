// A barcode scanner that types like a keyboard: letters faster than a hand, and Enter. The page always listens.

// Scanners leave 1 to 20 ms between two letters; the quickest typists some 60.
const BETWEEN_LETTERS_MS = 50;
const SHORTEST = 4;

// Calls back with what was scanned. What is typed into a text field is left to that field.
export const listenForScans = (onScan) => {
  let read = "";
  let last = -Infinity;

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || isText(event.target)) return;
    if (event.key.length !== 1 && event.key !== "Enter") return; // Shift goes with the letters
    if (event.timeStamp - last > BETWEEN_LETTERS_MS) read = "";
    last = event.timeStamp;
    if (event.key === "Enter") {
      if (read.length < SHORTEST) return;
      event.preventDefault();
      event.stopPropagation();
      const scanned = read;
      read = "";
      onScan(scanned);
      return;
    }
    read += event.key;
    // A space in the midst of a code must not press the button that happens to have the focus.
    if (read.length > 1) event.preventDefault();
  }, { capture: true });
};

const isText = (element) => element instanceof HTMLInputElement && element.type === "text";
