// The attack, iteration by iteration: settings, slider, the image, the scores, the saliency of
// single pixels (Eq. 8, 9) and the plane of all pixels in which the pair is found (Eq. 10).
const WHY = {
  target_reached: ({read}) => `It stopped because the network now reads ${article(read)}, the target.`,
  already_target: ({read}) =>
    `Nothing had to be changed: the network reads ${article(read)}, the target, from the start.`,
  max_iterations: ({read}) => `It stopped because the budget is spent: Υ = ${page.upsilon} % of ` +
    `784 pixels, two in each iteration. The network reads ${article(read)}.`,
  domain_empty: ({read}) => "It stopped because Γ is empty: every pixel has reached 0 or 1. The " +
    `network reads ${article(read)}.`,
  no_pair: ({read}) => "It stopped because no pair of Γ has both signs that are wanted (the paper " +
    `does not say what happens then). The network reads ${article(read)}.`,
};
const SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉";
let running = null;

const pairName = pair => pair.map(pixelName).join(" and ");
const roles = () => ({[page.states[0].read]: "source", [page.target]: "target"});
const sign = () => page.theta > 0 ? 1 : -1;

function showSettings() {
  $("#target").value = page.target;
  $("#direction").value = sign();
  $("#theta").value = Math.abs(page.theta);
  $("#upsilon").value = page.upsilon ?? "";
  $("#of").value = page.of;
}

function readSettings() {
  const size = Math.max(0.1, Math.abs(+$("#theta").value) || 1), limit = $("#upsilon").value;
  set({target: +$("#target").value, theta: +$("#direction").value * size, of: $("#of").value,
       upsilon: limit === "" ? null : Math.max(0, Math.min(100, +limit))});
  showSettings();
}

function showAttack() {
  const state = shown(), last = page.states.at(-1);
  Object.assign($("#slider"), {max: page.states.length - 1, value: page.at});
  $("#count-of").textContent = `${page.at} of ${last.iteration}${last.reason ? "" : " …"}`;
  $("#back").disabled = page.at === 0;
  $("#next").disabled = $("#run").disabled = page.at === last.iteration && last.reason !== null;
  $("#run").textContent = running ? "Stop" : "Run";
  $("#step").textContent = said(state);
  $("#slider").ariaValueText = $("#step").textContent;
  $("#why").hidden = !state.reason;
  if (state.reason) $("#why").textContent = WHY[state.reason](state);
  showImage(state);
  $("#scores").replaceChildren(...scoreRows(state, roles()));
  showCurves();
  showSaliency(state);
  showPlane(state);
}

function said({iteration, pair, alpha, beta, score}) {
  const start = `${iteration} iteration${iteration === 1 ? "" : "s"} done. `;
  if (!pair) return `${start}This is the end.`;
  const sum = values => pair.reduce((all, i) => all + values[i], 0);
  return `${start}The next pair: pixels ${pairName(pair)} (row, column), α = ` +
    `${number(sum(alpha), 4)}, β = ${number(sum(beta), 4)}, score −α·β = ${number(score, 4)}; ` +
    `θ = ${plain(page.theta)} is added to both.`;
}

function framePair(page_, pair) {
  for (const i of pair ?? [])
    frame(page_.pen, page_.width / SIDE, i % SIDE, Math.floor(i / SIDE), 1, colours().mark);
}

function showImage({image, changed, pair}) {
  const page_ = sheet($("#image"), 1), share = (100 * changed.length / image.length).toFixed(2);
  squares(page_, SIDE, SIDE, altered(image, page.states[0].image));
  framePair(page_, pair);
  $("#changed").textContent = `${changed.length} pixels changed so far: ${share} %`;
  $("#image").ariaLabel = `The image. ${$("#changed").textContent}` +
    (pair ? `; next: ${pairName(pair)}` : "");
}

// The logits or probabilities of all classes over the iterations
function showCurves() {
  const kind = $("[name=curve]:checked").value, source = page.states[0].read;
  const style = {[source]: {colour: colours().removed, width: 3}};
  style[page.target] = {colour: colours().added, width: 3, dash: [7, 4]};
  const series = [...Array(10).keys()].map(j => ({
    points: page.states.map((state, k) => [k, state[kind][j]]), label: `${j}`,
    ...(style[j] ?? {colour: colours().muted, width: 1}),
  }));
  lines($("#curves"), {series, axes: ["iteration", kind.slice(0, -1)], cursor: page.at});
  $("#curves-said").textContent = `Blue: ${source}, what it was read as. Orange, dashed: ` +
    `${page.target}, the target. The line marks this iteration.`;
  const now = shown()[kind], text = kind === "logits" ? number : percent;
  $("#curves").ariaLabel = `The ${kind} of all classes over ${page.states.length - 1} iterations. ` +
    `Here: ${source} ${text(now[source], 4)}, ${page.target} ${text(now[page.target], 4)}.`;
}

function showSaliency(state) {
  const {alpha, beta, gamma, pair} = state, score = saliency({alpha, beta}, gamma, page.theta);
  const most = largest(score) || 1, page_ = sheet($("#saliency"), 1);
  squares(page_, SIDE, SIDE, i => gamma[i] ? diverging(score[i] / most) : colours().idle);
  framePair(page_, pair);
  const count = score.filter(value => value > 0).length, up = page.theta > 0;
  $("#eq8").textContent = `Eq. ${up ? 8 : 9}: S = |α|·|β| where α ${up ? ">" : "<"} 0 and β ` +
    `${up ? "<" : ">"} 0, else 0`;
  $("#salient").textContent = `${count} of ${score.length} pixels pass both tests alone; the ` +
    `largest score is ${number(largest(score), 4)}. Grey: not in Γ any more. A single pixel must ` +
    "push the target up and all the others down by itself; two together need it only in sum.";
  $("#saliency").ariaLabel = `Saliency map of single pixels. ${$("#salient").textContent}`;
}

function showPlane(state) {
  const {alpha, beta, gamma, pair} = state, up = page.theta > 0;
  const x = alpha.map(a => sign() * a), y = beta.map(b => -sign() * b);
  const survivors = pair ? bestPair({alpha, beta}, gamma, page.theta).survivors : [];
  const all = [...x.keys()], {muted, added, removed, text} = colours();
  const groups = [
    {points: all.filter(i => !gamma[i]), radius: 2, stroke: muted},
    {points: all.filter(i => gamma[i]), radius: 2, fill: text},
    {points: survivors, radius: 4, stroke: removed},
    {points: pair ?? [], radius: 7, fill: added, stroke: colours().ground},
  ];
  const t = SUBSCRIPTS[page.target], minus = up ? "" : "−", plus = up ? "−" : "";
  plot($("#plane"), {x, y, groups, paths: pairPaths(x, y, pair),
                     axes: [`${minus}α = ${minus}∂F${t}/∂x`, `${plus}β`]});
  $("#eq10").replaceChildren(...withSubscripts("Eq. 10: the pair (p, q) with the largest " +
    `−(α_p + α_q)·(β_p + β_q) where α_p + α_q ${up ? ">" : "<"} 0 and β_p + β_q ` +
    `${up ? "<" : ">"} 0`));
  const inside = gamma.reduce((sum, one) => sum + one, 0);
  $("#plane-said").textContent = (pair ? `The winner (orange): ${pairName(pair)}. ` :
    "No pair is chosen here. ") + `${inside} pixels are in Γ. In the tinted quarter both sums have ` +
    "the sign that is wanted." + (page.of === "probabilities" ? " Probabilities add up to 1, so " +
    "what one gains the others lose: β = −α, all dots lie on the diagonal, and Eq. 10 can only " +
    "take the two largest α. That is why the paper differentiates the logits." : "");
  const scored = survivors.length * (survivors.length - 1) / 2;
  $("#pruned").textContent = pair ? `Here ${survivors.length} pixels are left (circles), so ` +
    `${scored.toLocaleString("en")} pairs are scored instead of ` +
    `${(inside * (inside - 1) / 2).toLocaleString("en")}.` : "";
  $("#plane").ariaLabel = `All pixels by α and β. ${$("#plane-said").textContent}`;
}

function pairPaths(x, y, pair) {  // (x_p + x_q)(y_p + y_q) = 4 · x · y at the middle of p and q
  if (!pair) return [];
  const [p, q] = pair, level = (x[p] + x[q]) * (y[p] + y[q]) / 4, end = 1.1 * Math.max(...x);
  const start = level / (1.1 * Math.max(...y)), colour = colours().added;
  const curve = [...Array(101).keys()].map(n => start * (end / start) ** (n / 100));
  return [{points: [[x[p], y[p]], [x[q], y[q]]], colour},
          {points: curve.map(a => [a, level / a]), colour, dash: [6, 4]}];
}

function go(at) {
  set({at: Math.max(0, Math.min(page.states.length - 1, at))});
}

function stop() {
  clearInterval(running);
  running = null;
  tell();
}

$("#run").onclick = () => {
  if (running) return stop();
  if (reduced.matches) return go(page.states.length - 1);
  running = setInterval(() => {
    if (page.at === page.states.length - 1 && ended()) return stop();
    go(page.at + 1);
  }, 250);
  go(page.at + 1);
};
$("#next").onclick = () => go(page.at + 1);
$("#back").onclick = () => go(page.at - 1);
$("#slider").oninput = () => go(+$("#slider").value);
for (const j of Array(10).keys()) $("#target").append(make("option", `${j}`, {value: j}));
for (const id of ["#target", "#direction", "#theta", "#upsilon", "#of"])
  $(id).onchange = readSettings;
for (const input of document.querySelectorAll("[name=curve]")) input.onchange = tell;
whenChanged(showAttack);
