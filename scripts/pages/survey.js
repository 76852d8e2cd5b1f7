// The page of the human study: one picture after the other, two questions, the answers as CSV.
//
// state: {participant, answers, finished}, what the browser remembers; answers: by sample, null or
// {digit (null: none), seconds}. order: in which the samples are shown; place: which of them is on
// the screen; since: when it came there.
const $ = css => document.querySelector(css);
const all = css => [...document.querySelectorAll(css)];
const survey = JSON.parse($("#survey").textContent), COUNT = survey.samples.length;
const KEY = `jsma-${survey.id}`, PEOPLE = 999999999;
let state = stored() ?? fresh(), order = shuffled(state.participant);
let started = false, place = 0, since = 0;

function fresh() {
  const participant = crypto.getRandomValues(new Uint32Array(1))[0] % PEOPLE + 1;
  return {participant, answers: Array(COUNT).fill(null), finished: false};
}

function stored() {
  try {
    const memory = JSON.parse(localStorage.getItem(KEY));
    return sound(memory) ? memory : null;
  } catch { return null; }
}

function sound({participant, answers, finished}) {
  const within = (value, low, high) => Number.isInteger(value) && value >= low && value <= high;
  const answered = ({digit, seconds}) => (digit === null || within(digit, 0, 9)) && seconds >= 0;
  return within(participant, 1, PEOPLE) && answers.length === COUNT &&
    answers.every(answer => answer === null ? !finished : answered(answer));
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(state));
  } catch { /* then they are in memory only */ }
}

function shuffled(seed) {  // Fisher-Yates by mulberry32
  const list = [...Array(COUNT).keys()];
  for (let i = COUNT - 1; i > 0; i--) {
    seed = seed + 0x6D2B79F5 | 0;
    let mixed = Math.imul(seed ^ seed >>> 15, 1 | seed);
    mixed = mixed + Math.imul(mixed ^ mixed >>> 7, 61 | mixed) ^ mixed;
    const j = Math.floor(((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32 * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}

function show() {
  const screen = state.finished ? "end" : !started ? "intro" : place < COUNT ? "ask" : "check";
  const turned = $("#" + screen).hidden, answered = state.answers.filter(Boolean).length;
  for (const section of all("section")) section.hidden = section.id !== screen;
  $("#again").hidden = !answered;
  $("#start").textContent = answered ? `Go on: ${answered} of ${COUNT} are answered` : "Start";
  if (screen === "ask") ask();
  if (screen === "end") offer();
  if (turned) $(`#${screen} .first`).focus();
}

function ask() {
  const {pixels} = survey.samples[order[place]], answer = state.answers[order[place]];
  const greys = Array.from(atob(pixels), one => one.charCodeAt(0));
  const colours = Uint8ClampedArray.from(greys.flatMap(grey => [grey, grey, grey, 255]));
  $("#picture").getContext("2d").putImageData(new ImageData(colours, 28), 0, 0);
  $("#count").textContent = `${place + 1} of ${COUNT}`;
  $("#progress").value = place;
  press(answer && answer.digit !== null, answer?.digit);
  $("#back").disabled = place === 0;
  $("#next").disabled = !answer;
  since = performance.now();
}

function press(yes, digit) {  // null or undefined: not answered
  $("#yes").setAttribute("aria-pressed", yes === true);
  $("#no").setAttribute("aria-pressed", yes === false);
  for (const button of all("#which button"))
    button.setAttribute("aria-pressed", button.dataset.digit === `${digit}`);
}

function answer(digit) {
  const before = state.answers[order[place]]?.seconds ?? 0;
  state.answers[order[place]] = {digit, seconds: before + (performance.now() - since) / 1000};
  keep();
  go(1);
}

function go(pictures) {  // forward, or back where below 0
  if (pictures > 0 && !state.answers[order[place]]) return;
  place = Math.max(0, place + pictures);
  show();
}

function offer() {
  const lines = survey.samples.map(({row}, number) => {
    const {digit, seconds} = state.answers[number], is = digit === null ? "no" : "yes";
    return [survey.id, state.participant, row, is, digit ?? "", seconds.toFixed(2)].join(",");
  });
  $("#csv").value = [survey.header, ...lines, ""].join("\n");
  $("#download").download = `answers-${survey.id}-${state.participant}.csv`;
  $("#download").href = URL.createObjectURL(new Blob([$("#csv").value], {type: "text/csv"}));
}

$("#start").onclick = () => {
  started = true;
  place = state.answers.filter(Boolean).length;
  show();
};
$("#yes").onclick = () => { press(true); $("#which button").focus(); };
for (const button of [$("#no"), ...all("#which button")])
  button.onclick = event => {
    if (event.detail > 1) return;  // a double click answers one picture, not two
    answer(button.id ? null : +button.dataset.digit);
  };
$("#back").onclick = $("#return").onclick = () => go(-1);
$("#next").onclick = () => go(1);
$("#finish").onclick = () => { state.finished = true; keep(); show(); };
$("#again").onclick = () => {
  if (!confirm("Throw all answers away and start again?")) return;
  state = fresh();
  order = shuffled(state.participant);
  started = false;
  keep();
  show();
};
$("#csv").onclick = () => $("#csv").select();
document.addEventListener("keydown", event => {
  if (state.finished || !started || event.repeat) return;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "arrowleft" || key === "backspace") go(-1);
  else if (place === COUNT) return;
  else if (key === "arrowright") go(1);
  else if (key === "n") answer(null);
  else if (/^[0-9]$/.test(key)) answer(+key);
  else return;
  event.preventDefault();
});
show();
