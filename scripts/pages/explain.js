// The state that all sections share: the image an attack starts from, its settings, the states it
// has come to, and the one that is shown. Whoever draws says so with whenChanged.
const data = JSON.parse($("#data").textContent);
const engine = new Engine(data), net = engine.net;
const page = {
  image: null,          // where the attack starts, 784 numbers
  name: "",             // of the image
  origin: "start",      // "start", "drawn", or the number of a test digit
  target: 8, theta: 1, upsilon: 14.5, of: "logits",
  states: [],           // of `State`, computed so far; the last one has a reason once it has ended
  at: 0,                // the state that is shown
};
const IDLE = 250;       // milliseconds without a stroke, after which the attack begins anew
const draws = [];
let attack = null, waiting = null, asked = null;

const whenChanged = draw => draws.push(draw);
const shown = () => page.states[page.at];
const ended = () => page.states.at(-1)?.reason ?? null;

// Change the image or a setting: the attack begins anew. `at` shows another state.
function set(changes) {
  const restarts = Object.keys(changes).some(key => key !== "at");
  Object.assign(page, changes);
  if (!restarts) return tell();
  clearTimeout(waiting);
  attack?.cancel();
  waiting = setTimeout(begin, changes.origin === "drawn" ? IDLE : 0);
}

function begin() {
  const {image, target, theta, upsilon, of} = page;
  page.states = [];
  page.at = 0;
  attack = engine.attack(image, {target, theta, upsilon, of}, state => {
    page.states.push(state);
    if (asked !== null) {  // the iteration of a link, once it is there
      page.at = Math.min(asked, state.iteration);
      if (state.reason || page.at === asked) asked = null;
    }
    tell();
  });
}

let telling = false;
function tell() {  // several changes, one drawing
  if (telling) return;
  telling = true;
  requestAnimationFrame(() => {
    telling = false;
    if (page.states.length) for (const draw of draws) draw();
  });
}

// The pixels of an image as they are drawn: ink where nothing changed, orange where ink was added
// to the start, blue where it was removed
function altered(image, start) {
  return i => {
    const more = image[i] - start[i], ground = ink(start[i]);
    if (Math.abs(more) < 1e-12) return ground;
    const colour = more > 0 ? ADDED : REMOVED, part = 0.45 + 0.55 * Math.min(1, Math.abs(more));
    return ground.map((from, k) => from + (colour[k] - from) * part);
  };
}

// The rows of a table of scores: class, bar, logit, probability
function scoreRows({logits, probabilities}, roles = {}) {
  const read = logits.indexOf(Math.max(...logits)), most = largest(logits) || 1;
  return [...logits].map((logit, j) => {
    const role = roles[j] ?? "", bar = make("div", [make("span")], {className: "bar"});
    const width = 50 * Math.abs(logit) / most;
    Object.assign(bar.firstChild.style,
                  {width: `${width}%`, left: `${logit < 0 ? 50 - width : 50}%`});
    const name = `${j} ${role}${j === read ? " (largest)" : ""}`;
    return make("tr", [
      make("th", name, {scope: "row"}), make("td", bar), make("td", number(logit, 4)),
      make("td", percent(probabilities[j]))], {className: role});
  });
}

const percent = share => share === 0 || share >= 0.001 ? `${(100 * share).toFixed(1)} %` :
  `${number(100 * share, 2)} %`;
const pixelName = i => `(${Math.floor(i / SIDE)}, ${i % SIDE})`;
const article = digit => `${digit === 8 ? "an" : "a"} ${digit}`;
const withSubscripts = text =>  // "α_p" as α with a small p below
  text.split(/(_[a-z])/).map(part => part[0] === "_" ? make("sub", part[1]) : part);
const reduced = matchMedia("(prefers-reduced-motion: reduce)");
const scrollTo_ = id => $(`#${id}`).scrollIntoView(
  {behavior: reduced.matches ? "instant" : "smooth"});

// The hook: the image as it was and as it is at the end of the attack
function showHook() {
  const first = page.states[0], last = page.states.at(-1);
  for (const [canvas, image] of [["#hook-before", first.image], ["#hook-after", last.image]])
    squares(sheet($(canvas), 1), SIDE, SIDE, altered(image, first.image));
  if (!last.reason) return;  // words wait for the end: they would push the page up and down
  const count = last.changed.length, won = last.reason === "target_reached";
  const how = page.theta > 0 ? "orange: ink was added" : "blue: ink was removed";
  $("#hook-read").textContent = `read as ${first.read}`;
  $("#hook-told").textContent = `read as ${last.read}`;
  $("#hook-before").ariaLabel = `${page.name}, read as ${first.read}`;
  $("#hook-after").ariaLabel = `the same with ${count} pixels changed, read as ${last.read}`;
  $("#hook").textContent = won ?
    `The same digit, ${count} pixels changed: the network reads ${article(last.read)}` :
    "A digit, and the few pixels that change what a network reads";
  $("#hook-text").textContent = `On the left ${page.name}. On the right the same, with ${count} ` +
    `of ${SIDE * SIDE} pixels changed (${how}): ` +
    `${(100 * count / SIDE / SIDE).toFixed(2)} %. ` + (won ?
    `For us it is what it was; the network reads ${article(last.read)}.` :
    `The network still reads ${article(last.read)}, not ${article(page.target)}.`);
}
whenChanged(showHook);
for (const button of document.querySelectorAll("[data-to]"))
  button.onclick = () => scrollTo_(button.dataset.to);
whenResized(tell);
