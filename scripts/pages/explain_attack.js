// The attack chooses: every iteration of the crafting, as it was recorded; and one of them by
// logits and by probabilities.
const steps = data.steps.map(step =>
  ({...step, alpha: floats(step.alpha), beta: floats(step.beta)}));
const towards = data.theta > 0 ? 1 : -1;  // θ < 0 wants the opposite signs (Eq. 9)
const ALPHA = `∂F${"₀₁₂₃₄₅₆₇₈₉"[data.target]}/∂x`;
const BETA = `Σ ∂Fⱼ/∂x over j ≠ ${data.target}`;
const AXES = towards > 0 ? [`α = ${ALPHA}`, `−β = −${BETA}`] : [`−α = −${ALPHA}`, `β = ${BETA}`];
const pixelName = i => `(${Math.floor(i / SIDE)}, ${i % SIDE})`;
const pairName = pair => pair.map(pixelName).join(" and ");
const everyPixel = [...digit.keys()];

// The image before iteration n and Γ: a pixel leaves Γ exactly when it is 0 or 1 after its change
// (Algorithm 2)
function before(iteration) {
  const image = digit.slice(), gamma = everyPixel.map(() => true), changed = new Set();
  for (const pair of data.pairs.slice(0, iteration))
    for (const i of pair) {
      image[i] = Math.max(0, Math.min(1, image[i] + data.theta));
      gamma[i] = image[i] !== 0 && image[i] !== 1;
      if (image[i] !== digit[i]) changed.add(i);
    }
  return {image, gamma, changed};
}

// The two directions that count: x = α and y = −β (signs turned for θ < 0); a pair needs both sums
// above 0
function wanted({alpha, beta}) {
  return {x: Array.from(alpha, value => towards * value),
          y: Array.from(beta, value => -towards * value)};
}

// Eq. 8 (θ > 0) or Eq. 9 (θ < 0): the product where a pixel has both signs that are wanted, else 0;
// 0 outside Γ
function saliency(step, gamma) {
  const {x, y} = wanted(step);
  return everyPixel.map(i => gamma[i] && x[i] > 0 && y[i] > 0 ? x[i] * y[i] : 0);
}

// Eq. 10 as it stands, every pair of Γ: {pair, score}
function bestPair({x, y}, gamma) {
  const inside = everyPixel.filter(i => gamma[i]);
  let best = {pair: null, score: 0};
  for (const p of inside)
    for (const q of inside) {
      const a = x[p] + x[q], b = y[p] + y[q];
      if (q > p && a > 0 && b > 0 && a * b > best.score) best = {pair: [p, q], score: a * b};
    }
  return best;
}

function showStep() {
  const step = steps[$("#slider").value], now = before(step.iteration);
  $("#step").textContent = said(step);
  $("#slider").ariaValueText = $("#step").textContent;
  showImage($("#image"), step, now);
  showSaliency($("#saliency"), step, now.gamma);
  showScores(step);
  showPlane(step, now.gamma);
  $("#why").hidden = step !== steps.at(-1);
  askOutputs();
}

function said({iteration, pair, alpha, beta, score}) {
  const start = `${iteration} of ${data.pairs.length} iterations done. `;
  if (!pair) return `${start}The end.`;
  const sum = values => pair.reduce((all, i) => all + values[i], 0);
  return `${start}The next pair: pixels ${pairName(pair)} (row, column), ` +
    `α = ${number(sum(alpha), 4)}, β = ${number(sum(beta), 4)}, ` +
    `score −α·β = ${number(score, 4)}; θ = ${plain(data.theta)} is added to both.`;
}

function framePair(page, pair) {
  for (const i of pair ?? [])
    frame(page.pen, page.width / SIDE, i % SIDE, Math.floor(i / SIDE), 1, ORANGE);
}

function showImage(canvas, {pair}, {image, changed}) {
  const page = sheet(canvas, 1), cell = page.width / SIDE;
  squares(page, SIDE, SIDE, i => grey(1 - image[i]));
  page.pen.fillStyle = ORANGE;
  for (const i of changed) {
    const [left, top] = [i % SIDE, Math.floor(i / SIDE)].map(place => (place + 0.35) * cell);
    page.pen.fillRect(left, top, 0.3 * cell, 0.3 * cell);
  }
  framePair(page, pair);
  const share = (100 * changed.size / digit.length).toFixed(2);
  $("#changed").textContent = `${changed.size} pixels changed so far (dots): ${share} %` +
    (pair ? "; framed: the pair that is chosen now" : "");
  canvas.ariaLabel = `The image. ${$("#changed").textContent}` +
    (pair ? `: ${pairName(pair)}` : "");
}

function showSaliency(canvas, step, gamma) {
  const score = saliency(step, gamma), most = largest(score), page = sheet(canvas, 1);
  squares(page, SIDE, SIDE, i => gamma[i] ? diverging(score[i] / most) : [196, 196, 196]);
  framePair(page, step.pair);
  const count = score.filter(value => value > 0).length;
  $("#salient").textContent = `${count} of ${digit.length} pixels pass both tests alone; ` +
    `the largest score is ${number(most, 4)}. Grey: not in Γ any more.`;
  canvas.ariaLabel = `Saliency map of single pixels. ${$("#salient").textContent}`;
}

function showScores({logits}) {
  const probabilities = softmax(logits), read = logits.indexOf(Math.max(...logits));
  const most = Math.max(...steps.map(step => largest(step.logits)));
  $("#scores").replaceChildren(...logits.map((logit, j) => {
    const role = j === data.target ? "target" : j === data.source ? "source" : "";
    const bar = make("div", [], {className: "bar"}), width = 50 * Math.abs(logit) / most;
    const left = logit < 0 ? 50 - width : 50;
    bar.append(make("span"));
    Object.assign(bar.firstChild.style, {width: `${width}%`, left: `${left}%`});
    const name = `${j}\u00a0${role} ${j === read ? "(largest)" : ""}`;
    return make("tr", [
      make("th", name, {scope: "row"}), make("td", bar), make("td", number(logit, 4)),
      make("td", `${(100 * probabilities[j]).toFixed(1)} %`)], {className: role});
  }));
}

// The points of all pixels, the candidates, the pair and the curve of all pairs that score the same
function pointGroups({x, y}, gamma, {survivors = [], front = [], pair}) {
  return [
    {points: everyPixel.filter(i => !gamma[i]), radius: 2, stroke: "#bbb"},
    {points: everyPixel.filter(i => gamma[i]), radius: 2, fill: "#6b6b6b"},
    {points: front, radius: 5, stroke: BLUE},
    {points: survivors, radius: 5, fill: BLUE},
    {points: pair ?? [], radius: 7, fill: ORANGE, stroke: "#fff"},
  ];
}

function pairPaths({x, y}, pair) {  // (x_p + x_q)(y_p + y_q) = 4 · x · y at the middle of p and q
  if (!pair) return [];
  const [p, q] = pair, level = (x[p] + x[q]) * (y[p] + y[q]) / 4, end = 1.1 * Math.max(...x);
  const start = level / (1.1 * Math.max(...y));
  const curve = [...Array(101).keys()].map(n => start * (end / start) ** (n / 100));
  return [{points: [[x[p], y[p]], [x[q], y[q]]], colour: ORANGE},
          {points: curve.map(a => [a, level / a]), colour: ORANGE, dash: [6, 4]}];
}

function showPlane(step, gamma) {
  const points = wanted(step), {survivors = [], front = [], pair} = step;
  const groups = pointGroups(points, gamma, step), paths = pairPaths(points, pair);
  plot($("#plane"), {...points, axes: AXES, groups, paths});
  const inside = gamma.filter(Boolean).length, all = inside * (inside - 1) / 2;
  const partners = survivors.filter(i => front.includes(i)).length;
  const scored = partners * (survivors.length - (partners + 1) / 2);
  $("#candidates").textContent = !pair ? "No pair is chosen here." :
    `${inside} pixels are in Γ. Dominance leaves ${front.length} of them (circles): at most one ` +
    "other pixel is at least as good in both directions. The bound leaves " +
    `${survivors.length} (full): with the best partner there could be they still beat a pair ` +
    `that is already known. So ${scored.toLocaleString("en")} ` +
    `pair${scored === 1 ? " is" : "s are"} scored instead of ${all.toLocaleString("en")}; ` +
    "the winner is orange.";
  $("#plane").ariaLabel = `All pixels by their two sums. ${$("#candidates").textContent}`;
}

// Logits or probabilities: computed anew from the weights, once the slider rests and the section is
// in sight
let inSight = false, waiting = null, computed = null;
function askOutputs() {
  clearTimeout(waiting);
  if (!inSight || computed === $("#slider").value) return;
  $("#identity").textContent = "computing the derivative of this image …";
  waiting = setTimeout(showOutputs, 200);
}

function showOutputs() {
  computed = $("#slider").value;
  const step = steps[computed], {image, gamma} = before(step.iteration);
  const network = lenet(weights, image);
  const logits = sums(network.fc2, data.target), probabilities = sums(network.softmax, data.target);
  const off = ["alpha", "beta"].map(name =>
    largest(logits[name].map((value, i) => value - step[name][i])));
  $("#identity").replaceChildren(
    showOutput("logits", logits, gamma), showOutput("probabilities", probabilities, gamma),
    make("p", "This page computed both from the weights; its α and β of the logits differ from " +
      `the recorded ones, kept in single precision, by ${number(Math.max(...off), 2)} at most.`));
}

// One of the two plots, and what is to be said of it; output: {alpha, beta}
function showOutput(title, output, gamma) {
  const points = wanted(output), {pair} = bestPair(points, gamma);
  const ends = [Math.min(...points.x), Math.max(...points.x)].map(value => [value, value]);
  const paths = [{points: ends, colour: "#777", dash: [2, 4]}, ...pairPaths(points, pair)];
  const groups = pointGroups(points, gamma, {pair});
  plot($(`#by-${title}`), {...points, axes: AXES, groups, paths});
  const both = largest(output.alpha.map((value, i) => value + output.beta[i]));
  const text = `On ${title} the largest |α + β| of all ${digit.length} pixels is ` +
    `${number(both, 3)}, the largest |α| is ${number(largest(output.alpha), 3)}; ` +
    (pair ? `the best pair is ${pairName(pair)}.` : "no pair qualifies.");
  $(`#by-${title}`).ariaLabel = `All pixels by α and β of the ${title}. ${text}`;
  return make("p", text);
}

new IntersectionObserver(([{isIntersecting}]) => {
  inSight = isIntersecting;
  askOutputs();
}).observe($("#outputs"));
$("#slider").max = steps.length - 1;
$("#slider").oninput = showStep;
whenResized(() => { computed = null; showStep(); });
showStep();
