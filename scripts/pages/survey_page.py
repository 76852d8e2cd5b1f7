"""The page of the human study (Section V-C): its samples, made by the attack, and the HTML that shows them.

In: a network, digits, the shares of pixels ε and the changes θ to show. Out: samples, and one self-contained page that
asks of each whether it is a digit, and which one; the answers leave it as CSV (`HEADER`), which `survey` reads.
"""
import base64
import hashlib
import json

import numpy as np

from attack import craft, replay
from scripts.pages.document import document

HEADER = "survey,participant,sample,index,part,label,target,theta,distortion,is_digit,digit,seconds"
PARTS = ("unaltered", "distortion", "intensity")
UPSILON = 14.5  # percent, Υ of the intensity part
MOST = 2000  # samples, about 1.1 KB each


class Onward:
    """A network that crafting never ends with: an eleventh class, which no pixel changes, always wins.

    The attack then goes its way (Algorithm 2), past its target, up to the share of pixels that is asked for.
    """

    def __init__(self, network):
        self.network = network

    def logits(self, x):
        """x (B, …) → (B, N + 1), the last +∞."""
        return np.pad(self.network.logits(x), [(0, 0), (0, 1)], constant_values=np.inf)

    def forward_derivative(self, x):
        """x (B, …) → (B, N + 1, M), the last row 0."""
        return np.pad(self.network.forward_derivative(x), [(0, 0), (0, 1), (0, 0)])

    def backward_derivative(self, x, cotangents):
        """x (B, …), cotangents (B, K, N + 1) → (B, K, M)."""
        return self.network.backward_derivative(x, cotangents[:, :, :-1])


def onward(network, images, targets, epsilon, derivative="forward"):
    """Images (n, 28, 28) with as many pairs changed, θ = +1, as keep the changed pixels within `epsilon` percent.

    A pixel that is 1 already may be chosen, too, but does not count: nobody sees it.
    """
    pairs = craft(Onward(network), images, targets, max_distortion=min(1.5 * epsilon, 100), derivative=derivative).pairs
    values = np.take_along_axis(images.reshape(len(images), -1), pairs.reshape(len(images), -1), axis=1)
    changed = (values < 1).reshape(pairs.shape).sum(axis=2).cumsum(axis=1)
    return replay(images, np.where(changed[:, :, None] <= 7.84 * epsilon, pairs, -1))


def draw(network, images, labels, epsilons, thetas, count, seed=0, derivative="forward", progress=None):
    """`count` samples in random order, as many of each ε and each θ as of any other, or one more.

    images (n, 28, 28) in [0, 1], labels (n,): no digit is taken twice, each is crafted to a random other class.
    epsilons, percent: at 0 the digit stays as it is, else it goes `onward`. thetas: crafted with Υ = 14.5 %, whether
    the target is reached or not. progress: called with (samples done, count).

    Returns a list of (pixels (28, 28) uint8, the columns from `index` to `distortion` as text). Raises ValueError where
    `count` is too small or too large.
    """
    ways = [("distortion" if epsilon else "unaltered", 1.0, epsilon) for epsilon in dict.fromkeys(epsilons)]
    ways += [("intensity", theta, UPSILON) for theta in dict.fromkeys(thetas)]
    least, most = max(1, len(ways)), min(MOST, len(images))
    if not ways or not least <= count <= most:
        raise ValueError(f"--count must lie in {least}..{most}: each ε and θ once at least (there are {len(ways)}), no "
                         f"digit twice; got {count}")
    rng = np.random.default_rng(seed)
    index = rng.choice(len(images), count, replace=False)
    targets = (labels[index] + rng.integers(1, 10, count)) % 10
    turn = rng.permutation(np.arange(count) % len(ways))
    samples, done = [None] * count, 0
    for number, (part, theta, upsilon) in enumerate(ways):
        rows = np.flatnonzero(turn == number)
        before = after = images[index[rows]]
        if part == "distortion":
            after = onward(network, before, targets[rows], upsilon, derivative)
        elif part == "intensity":
            after = craft(network, before, targets[rows], theta=theta, max_distortion=upsilon,
                          derivative=derivative).adversarial
        before, after = (np.round(255 * pictures).astype(np.uint8) for pictures in (before, after))
        share = 100 * (before != after).reshape(len(rows), -1).mean(axis=1)
        for row, pixels, changed in zip(rows, after, share):
            way = "," if part == "unaltered" else f"{targets[row]},{theta:g}"
            samples[row] = pixels, f"{index[row]},{part},{labels[index[row]]},{way},{changed:.4f}"
        done += len(rows)
        if progress is not None:
            progress(done, count)
    return samples


def page(samples):
    """(survey id, HTML) of what `draw` returns; the id is made of all that the samples are."""
    shown = [{"pixels": base64.b64encode(pixels.tobytes()).decode(), "row": f"{number},{row}"}
             for number, (pixels, row) in enumerate(samples, 1)]
    survey = "s" + hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:12]  # 12e4 alone is a number
    data = json.dumps({"id": survey, "header": HEADER, "samples": shown}, separators=(",", ":"))
    digits = "".join(f"<button type='button' data-digit='{digit}'>{digit}</button>" for digit in range(10))
    body = BODY.replace("@SCRIPT@", SCRIPT).replace("@COUNT@", str(len(samples)))
    return survey, document("What do you see?", STYLE, body.replace("@DIGITS@", digits).replace("@SURVEY@", data))


STYLE = """
* { box-sizing: border-box; }
body { font: 17px/1.4 system-ui, sans-serif; max-width: 56rem; margin: 0 auto; padding: .75rem; color: #1a1a1a;
  background: #fff; color-scheme: light; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .5rem 0; }
button, .button { font: inherit; min-height: 3rem; min-width: 3rem; padding: .25rem .75rem; border: 2px solid #1f5673;
  border-radius: .4rem; background: #fff; color: #12394f; cursor: pointer; touch-action: manipulation; }
.button { display: inline-flex; align-items: center; text-decoration: none; }
.main, [aria-pressed=true] { background: #1f5673; color: #fff; font-weight: 700; }
button:disabled { border-color: #999; color: #666; cursor: default; }
:focus-visible { outline: 4px solid #b5651d; outline-offset: 2px; }
[tabindex]:focus { outline: none; }
.bar, nav { display: flex; align-items: center; justify-content: space-between; gap: .75rem; }
#count { margin: 0; } progress { flex: 1; height: 1rem; accent-color: #1f5673; }
canvas { display: block; width: 252px; height: 252px; margin: .6rem auto; image-rendering: pixelated; }
fieldset { border: 0; margin: 0 0 .5rem; padding: 0; display: grid; grid-template-columns: 1fr 1fr; gap: .4rem; }
#which { grid-template-columns: repeat(5, 1fr); }
legend { padding: 0 0 .2rem; font-weight: 600; }
kbd { font: inherit; border: 1px solid #777; border-radius: .2rem; padding: 0 .3rem; }
textarea { width: 100%; font: 13px/1.3 monospace; }
footer { margin-top: 1rem; }
@media (min-width: 760px) {
  #ask:not([hidden]) { display: grid; grid-template-columns: 420px 1fr; column-gap: 2rem; align-items: center; }
  .bar { grid-column: 1 / 3; } canvas { width: 420px; height: 420px; }
}
"""

BODY = """<main>
<noscript><p>This page needs JavaScript. It loads nothing and sends nothing.</p></noscript>
<section id='intro' hidden>
<h1>What do you see?</h1>
<p>You will see @COUNT@ small pictures, one after the other. Of each we ask two questions: is it a digit, and if it is,
which one? Answer by what you see at first sight. You can go back and change an answer.</p>
<p>Use the buttons, or the keys <kbd>0</kbd> to <kbd>9</kbd>, <kbd>N</kbd> for “no digit”, <kbd>←</kbd> or
<kbd>Backspace</kbd> to go back, <kbd>→</kbd> to go on.</p>
<p>No name is asked, a random number keeps your answers together. They stay in this browser until, at the end, you give
them away yourself.</p>
<p><button type='button' id='start' class='main first'></button></p>
</section>
<section id='ask' hidden>
<div class='bar'><progress id='progress' max='@COUNT@' value='0' aria-label='pictures answered'></progress>
<p id='count' class='first' role='status' tabindex='-1'></p></div>
<canvas id='picture' width='28' height='28' role='img' aria-label='the picture, 28 by 28 pixels'></canvas>
<div>
<fieldset><legend>Is this a digit?</legend><button type='button' id='yes'>Yes</button
><button type='button' id='no'>No <kbd>N</kbd></button></fieldset>
<fieldset id='which'><legend>If yes, which digit?</legend>@DIGITS@</fieldset>
<nav aria-label='pictures'><button type='button' id='back'><span aria-hidden='true'>← </span>Back</button
><button type='button' id='next'>Next<span aria-hidden='true'> →</span></button></nav>
</div>
</section>
<section id='check' hidden>
<h1 class='first' tabindex='-1'>All @COUNT@ pictures are answered</h1>
<p>You may still go back and change an answer. Once you finish, the answers are fixed.</p>
<nav aria-label='end'><button type='button' id='return'><span aria-hidden='true'>← </span>Back</button
><button type='button' id='finish' class='main'>Finish</button></nav>
</section>
<section id='end' hidden>
<h1 class='first' tabindex='-1'>Thank you</h1>
<p>Please save your answers and give the file to those who asked you.</p>
<p><a id='download' class='button main'>Save the answers (CSV)</a></p>
<details><summary>Or copy them as text</summary>
<textarea id='csv' rows='10' readonly wrap='off' aria-label='your answers as CSV'></textarea></details>
</section>
<footer><button type='button' id='again' hidden>Start again</button></footer>
</main>
<script type='application/json' id='survey'>@SURVEY@</script>
<script>@SCRIPT@</script>"""

SCRIPT = """
"use strict";
const $ = css => document.querySelector(css), all = css => [...document.querySelectorAll(css)];
const survey = JSON.parse($("#survey").textContent), COUNT = survey.samples.length, KEY = `jsma-${survey.id}`;
const PEOPLE = 999999999;
let state = stored() ?? fresh(), order = shuffled(state.participant), started = false, place = 0, since = 0;

function fresh() {  // answers: by sample, null or {digit (null: none), seconds}
  const participant = crypto.getRandomValues(new Uint32Array(1))[0] % PEOPLE + 1;
  return {participant, answers: Array(COUNT).fill(null), finished: false};
}
function stored() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    return sound(kept) ? kept : null;
  } catch { return null; }
}
function sound(kept) {
  const within = (value, low, high) => Number.isInteger(value) && value >= low && value <= high;
  return within(kept.participant, 1, PEOPLE) && kept.answers.length === COUNT && kept.answers.every(answer =>
    answer === null ? !kept.finished : (answer.digit === null || within(answer.digit, 0, 9)) && answer.seconds >= 0);
}
function keep() {
  try { localStorage.setItem(KEY, JSON.stringify(state)); } catch { /* then they are in memory only */ }
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
  const turned = $("#" + screen).hidden, given = state.answers.filter(Boolean).length;
  for (const section of all("section")) section.hidden = section.id !== screen;
  $("#again").hidden = !given;
  $("#start").textContent = given ? `Go on: ${given} of ${COUNT} are answered` : "Start";
  if (screen === "ask") ask();
  if (screen === "end") offer();
  if (turned) $(`#${screen} .first`).focus();
}
function ask() {
  const {pixels} = survey.samples[order[place]], answer = state.answers[order[place]];
  const colours = Array.from(atob(pixels), one => Array(3).fill(one.charCodeAt(0)).concat(255)).flat();
  $("#picture").getContext("2d").putImageData(new ImageData(Uint8ClampedArray.from(colours), 28), 0, 0);
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
  for (const button of all("#which button")) button.setAttribute("aria-pressed", button.dataset.digit === `${digit}`);
}
function answer(digit) {
  const before = state.answers[order[place]]?.seconds ?? 0;
  state.answers[order[place]] = {digit, seconds: before + (performance.now() - since) / 1000};
  keep();
  go(1);
}
function go(step) {
  if (step > 0 && !state.answers[order[place]]) return;
  place = Math.max(0, place + step);
  show();
}
function offer() {
  const lines = survey.samples.map(({row}, number) => {
    const {digit, seconds} = state.answers[number], is = digit === null ? "no" : "yes";
    return [survey.id, state.participant, row, is, digit ?? "", seconds.toFixed(2)].join(",");
  });
  $("#csv").value = [survey.header, ...lines, ""].join("\\n");
  $("#download").download = `answers-${survey.id}-${state.participant}.csv`;
  $("#download").href = URL.createObjectURL(new Blob([$("#csv").value], {type: "text/csv"}));
}
$("#start").onclick = () => { started = true; place = state.answers.filter(Boolean).length; show(); };
$("#yes").onclick = () => { press(true); $("#which button").focus(); };
for (const button of [$("#no"), ...all("#which button")])  // a double click answers one picture, not two
  button.onclick = event => { if (event.detail < 2) answer(button.id ? null : +button.dataset.digit); };
$("#back").onclick = $("#return").onclick = () => go(-1);
$("#next").onclick = () => go(1);
$("#finish").onclick = () => { state.finished = true; keep(); show(); };
$("#again").onclick = () => {
  if (!confirm("Throw all answers away and start again?")) return;
  state = fresh(); order = shuffled(state.participant); started = false; keep(); show();
};
$("#csv").onclick = () => $("#csv").select();
document.addEventListener("keydown", event => {
  if (state.finished || !started || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
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
"""
