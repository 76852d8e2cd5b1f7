// The state of the page in its address, behind #, and back; the picture as a PNG; and the start.
//   d: number of a test digit, or i: the drawing (8 bits, base64); neither: what the page opens with
//   t: target, o: θ, u: Υ ("" for none), f: of, k: iteration, c: is the drawing centred already
const encoded = () => {
  const {origin, target, theta, upsilon, of, at} = page, state = new URLSearchParams();
  if (typeof origin === "number") state.set("d", origin);
  else if (origin === "drawn") {
    const letters = String.fromCharCode(...page.image.map(value => Math.round(255 * value)));
    state.set("i", btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", ""));
  }
  for (const [key, value] of Object.entries({t: target, o: theta, u: upsilon ?? "", f: of, k: at}))
    state.set(key, value);
  return `${state}`;
};

// The address says the same as the page, once it rests: browsers count how often it changes
let resting = null;
function showAddress() {
  clearTimeout(resting);
  resting = setTimeout(() => history.replaceState(null, "", `#${encoded()}`), 400);
}

// What the address says: true where it says anything that can be read
function fromAddress() {
  const state = new URLSearchParams(location.hash.slice(1));
  if (!state.has("t")) return false;
  const theta = +state.get("o"), target = +state.get("t"), upsilon = state.get("u");
  const digit = data.digits.find(({number: n}) => state.get("d") === `${n}`);
  const drawing = state.get("i") && pixelsOf(state.get("i"));
  if (!(Number.isInteger(target) && target >= 0 && target <= 9) || !theta) return false;
  asked = Math.max(0, Math.round(+state.get("k")) || 0);
  Object.assign(page, {theta, target, upsilon: upsilon === "" ? null : +upsilon || 0,
                       of: state.get("f") === "probabilities" ? "probabilities" : "logits"});
  if (digit) takeDigit(digit);
  else if (drawing) {
    pad.ink = drawing.slice();
    pad.empty = false;
    load(drawing, "a drawing", "drawn");
  } else takeStart();
  return true;
}

function pixelsOf(text) {
  try {
    const image = imageOf(text.replaceAll("-", "+").replaceAll("_", "/"));
    return image.length === SIDE * SIDE ? image : null;
  } catch { return null; }
}

function takeStart() {
  pad.ink = Float64Array.from(floats(data.start.image));
  load(pad.ink.slice(), data.start.name, "start");
}

$("#link").onclick = async () => {
  const link = `${location.href.split("#")[0]}#${encoded()}`;
  try {
    await navigator.clipboard.writeText(link);
    $("#share-said").textContent = "The link is in the clipboard.";
  } catch { $("#share-said").textContent = "Copy it from the address line."; }
};
$("#save").onclick = () => {
  const canvas = make("canvas", [], {width: 280, height: 280}), pen = canvas.getContext("2d");
  squares({pen, width: 280, height: 280}, SIDE, SIDE,
          altered(shown().image, page.states[0].image));
  canvas.toBlob(blob => {
    const link = make("a", [], {href: URL.createObjectURL(blob), download: "digit.png"});
    link.click();
    URL.revokeObjectURL(link.href);
  });
  $("#share-said").textContent = "digit.png: the image of this iteration.";
};
whenChanged(showAddress);
window.addEventListener("hashchange", () => {
  if (location.hash !== `#${encoded()}` && fromAddress()) showSettings();
});
if (!fromAddress()) {
  const {target, theta, upsilon, of} = data.start;
  Object.assign(page, {target, theta, upsilon, of});
  takeStart();
}
showSettings();
