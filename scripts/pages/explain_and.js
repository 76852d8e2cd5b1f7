// The AND network of Fig. 3: its surface, its forward derivative spelled out, and the direction
// that changes its mind.
const weights = JSON.parse($("#data").textContent), GRID = 101, ARROW = 0.15, APART = 0.06;
const [W, b, [V], [c]] =
  ["hidden.weight", "hidden.bias", "output.weight", "output.bias"].map(name => weights[name]);
const point = [1, 0], SUB = ["₁", "₂"], places = {};  // places: where numbers lie, by canvas

const sigmoid = z => 0.5 * (1 + Math.tanh(0.5 * z));

// F and its derivative at x: h = φ(W·x + b), F = φ(V·h + c)
function network(x) {
  const z = W.map((row, k) => row[0] * x[0] + row[1] * x[1] + b[k]), h = z.map(sigmoid);
  const slopes = h.map(value => value * (1 - value));  // φ'(z_k)
  // Eq. 5: ∂h_k/∂x_i = W_ki × φ'(z_k)
  const inner = W.map((row, k) => row.map(w => w * slopes[k]));
  const out = V[0] * h[0] + V[1] * h[1] + c, F = sigmoid(out), slope = F * (1 - F);
  const sums = [0, 1].map(i => V[0] * inner[0][i] + V[1] * inner[1][i]);
  // Eq. 6: ∂F/∂x_i
  return {z, h, slopes, inner, out, F, slope, sums, gradient: sums.map(sum => sum * slope)};
}

const surface = Array.from({length: GRID * GRID}, (_, n) =>
  network([n % GRID / (GRID - 1), 1 - Math.floor(n / GRID) / (GRID - 1)]));
const steepest = [0, 1].map(i => largest(surface.map(({gradient}) => gradient[i])));
const pictures = [["surface", ({F}) => 2 * F - 1],
                  ["slope1", ({gradient}) => gradient[0] / steepest[0]],
                  ["slope2", ({gradient}) => gradient[1] / steepest[1]]];

// The way that raises F where it is below ½ and lowers it elsewhere, of length 1: ±∇F/|∇F|,
// without the part that would leave the square
function direction({F, gradient}) {
  const inside = gradient.map((part, i) => {
    const way = F < 0.5 ? part : -part;
    return way > 0 && point[i] === 1 || way < 0 && point[i] === 0 ? 0 : way;
  });
  const length = Math.hypot(...inside);
  return length ? inside.map(part => part / length) : [0, 0];
}

// Of an arrow along this way: as long as there is room
const room = way => Math.min(ARROW, ...way.map((part, i) =>
  part > 0 ? (1 - point[i]) / part : part < 0 ? -point[i] / part : Infinity));

// Two points at x₁ = 1, APART from each other, between which F passes ½
function ownPair() {
  let [low, high] = [0, 1];
  while (high - low > 1e-4) {
    const middle = (low + high) / 2;
    if (network([1, middle]).F < 0.5) low = middle; else high = middle;
  }
  return [-1, 1].map(side => [1, Math.round(100 * (low + side * APART / 2)) / 100]);
}

// How far it is along this way to F = ½; null if the square ends before
function crossing(way, above) {
  for (let far = 0; far < 1.5; far += 0.001) {
    const x = point.map((value, i) => value + far * way[i]);
    if (x.some(value => value < 0 || value > 1)) return null;
    if (network(x).F >= 0.5 !== above) return far;
  }
  return null;
}

function show() {
  const now = network(point), way = direction(now);
  for (const [id, colour] of pictures) {
    const place = axesOf($(`#${id}`), 1, [0, 1], [0, 1]), {pen, px, py} = place;
    places[id] = place;
    drawAxes(place, [0, 1], [0, 1], ["x₁", "x₂"], $(`#${id}`));
    pen.save();
    pen.translate(px(0), py(1));
    squares({pen, width: px(1) - px(0), height: py(0) - py(1)}, GRID, GRID,
            n => diverging(colour(surface[n])));
    pen.restore();
    const at = ([x1, x2]) => [px(x1), py(x2)], far = room(way);
    if (id === "surface")
      arrow(pen, at(point), at(point.map((value, i) => value + far * way[i])));
    pen.beginPath();
    pen.arc(...at(point), 8, 0, 7);
    Object.assign(pen, {fillStyle: colours().ground, strokeStyle: colours().text, lineWidth: 3});
    pen.fill();
    pen.stroke();
  }
  drawNetwork(now);
  showNumbers(now, way);
}

// An element of a drawing, with text in it or none
function drawn(name, attributes, text = "") {
  const element = document.createElementNS($("#network").namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

// The 2-2-1 network: a line for each weight, its number where no other line is, values in circles
function drawNetwork({h, F}) {
  const [near, hidden, end] = [34, 178, 306], [top, bottom, middle] = [56, 196, 126];
  const rows = [top, bottom], parts = [];
  const edge = (from, to, weight, [right, down], along = 0.5) => {
    const kind = weight < 0 ? "below" : "above";
    const [x, y] = from.map((value, i) => value + along * (to[i] - value));
    parts.push(drawn("line", {x1: from[0], y1: from[1], x2: to[0], y2: to[1], class: kind,
                              "stroke-width": 1 + Math.sqrt(Math.abs(weight)) / 1.5}));
    parts.push(drawn("text", {x: x + right, y: y + 5 + down, class: kind}, number(weight, 3)));
  };
  for (const k of [0, 1]) {
    const down = k ? 14 : -14;
    edge([near, rows[k]], [hidden, rows[k]], W[k][k], [0, down]);
    edge([near, rows[1 - k]], [hidden, rows[k]], W[k][1 - k], [-36, k ? 4 : -4], 0.32);
    edge([hidden, rows[k]], [end, middle], V[k], [9, down]);
  }
  const neuron = (name, value, x, y) => parts.push(
    drawn("circle", {cx: x, cy: y, r: 28}), drawn("text", {x, y: y - 4}, name),
    drawn("text", {x, y: y + 14, class: "value"}, plain(value)));
  const bias = (value, x, y) => parts.push(drawn("text", {x, y}, `b = ${number(value, 3)}`));
  for (const i of [0, 1]) neuron(`x${SUB[i]}`, point[i], near, rows[i]);
  for (const k of [0, 1]) neuron(`h${SUB[k]}`, h[k], hidden, rows[k]);
  neuron("F", F, end, middle);
  bias(b[0], hidden, top - 38);
  bias(b[1], hidden, bottom + 48);
  bias(c, end, middle + 74);
  $("#network").replaceChildren(...parts);
}

function arrow(pen, from, to) {
  const turn = Math.atan2(to[1] - from[1], to[0] - from[0]);
  if (from[0] === to[0] && from[1] === to[1]) return;
  for (const [width, colour] of [[8, colours().ground], [4, colours().text]]) {
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    for (const barb of [-2.6, 2.6]) {
      pen.moveTo(...to);
      pen.lineTo(to[0] + 14 * Math.cos(turn + barb), to[1] + 14 * Math.sin(turn + barb));
    }
    Object.assign(pen, {lineWidth: width, strokeStyle: colour, lineCap: "round"});
    pen.stroke();
  }
}

function showNumbers(now, way) {
  const {z, h, slopes, inner, out, F, slope, sums, gradient} = now;
  const [x1, x2] = point.map(plain);
  $("#x1").value = point[0];
  $("#x2").value = point[1];
  const line = (text, value, id = "") =>
    make("tr", [make("th", text, {scope: "row"}), make("td", number(value), {id})]);
  const n = value => value < 0 ? `(${number(value, 4)})` : number(value, 4);
  $("#value").replaceChildren(
    ...[0, 1].flatMap(k => [
      line(`z${SUB[k]} = ${n(W[k][0])}·${x1} + ${n(W[k][1])}·${x2} + ${n(b[k])}`, z[k]),
      line(`h${SUB[k]} = φ(z${SUB[k]})`, h[k]), line(`φ′(z${SUB[k]})`, slopes[k])]),
    line(`z = ${n(V[0])}·h₁ + ${n(V[1])}·h₂ + ${n(c)}`, out), line("φ′(z)", slope),
    line("F = φ(z)", F, "F"));
  for (const i of [0, 1]) $(`#by${i + 1}`).replaceChildren(
    ...[0, 1].map(k => line(
      `Eq. 5: ∂h${SUB[k]}/∂x${SUB[i]} = ${n(W[k][i])} × ${n(slopes[k])}`, inner[k][i])),
    line(`Eq. 6, the sum: ${n(V[0])} · ${n(inner[0][i])} + ${n(V[1])} · ${n(inner[1][i])}`,
         sums[i]),
    line(`Eq. 6: ∂F/∂x${SUB[i]} = ${n(sums[i])} × ${n(slope)}`, gradient[i], `d${i + 1}`));
  const far = crossing(way, F >= 0.5), [one, two] = gradient.map(Math.abs);
  const slopeText = gradient.map(part => number(part, 4)).join(", ");
  const there = `At (${x1}, ${x2}): F = ${number(F, 4)}, ∇F = [${slopeText}]. ` +
    (one === two ? "Both inputs matter alike." : `x${SUB[+(one < two)]} matters more.`);
  const goal = (F < 0.5 ? "To make F rise above ½ the attack goes along ∇F" :
    "To make F fall below ½ the attack goes along −∇F") +
    (way.includes(0) ? ", but stays in the square." : ".");
  const onward = far === null ? "the square ends before it gets there" :
    `F is there after ${far.toFixed(3)}`;
  $("#said").replaceChildren(make("p", there), make("p", `${goal} Straight on, ${onward}.`));
  $("#surface").ariaLabel = `F over the unit square. ${there} Arrow keys move the point.`;
  for (const i of [1, 2]) {
    $(`#slope${i}`).ariaLabel =
      `The derivative of F with respect to x${SUB[i - 1]} over the unit square`;
    $(`#scale${i}`).textContent =
      `Blue: above zero. Orange: below. Full colour is ±${number(steepest[i - 1], 3)}.`;
  }
  $("#network").ariaLabel = "The network: two inputs, two hidden neurons, one output. " +
    [0, 1].map(k => `h${SUB[k]}: weights ${n(W[k][0])} and ${n(W[k][1])}, bias ${n(b[k])}. `)
      .join("") + `F: weights ${n(V[0])} and ${n(V[1])}, bias ${n(c)}.`;
}

function move(x) {
  x.forEach((value, i) => {
    point[i] = Math.round(1e3 * Math.max(0, Math.min(1, value || 0))) / 1e3;
  });
  show();
}

for (const [id] of pictures) {
  const canvas = $(`#${id}`);
  const follow = event => {
    const box = canvas.getBoundingClientRect(), {px, py} = places[id];
    move([(event.clientX - box.left - px(0)) / (px(1) - px(0)),
          (event.clientY - box.top - py(0)) / (py(1) - py(0))]);
  };
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    follow(event);
  });
  canvas.addEventListener("pointermove", event => {
    if (canvas.hasPointerCapture(event.pointerId)) follow(event);
  });
}
onArrows($("#surface"), (right, down, shift) => {
  const distance = shift ? 0.1 : 0.01;
  move([point[0] + distance * right, point[1] - distance * down]);
});
for (const id of ["#x1", "#x2"]) $(id).onchange = () => move([+$("#x1").value, +$("#x2").value]);
const pairs = {low: [1, 0.37], high: [1, 0.43]};  // the paper's, and this network's
[pairs["own-low"], pairs["own-high"]] = ownPair();
for (const [id, x] of Object.entries(pairs)) {
  $(`#${id}`).textContent = `(${x.join(", ")})`;
  $(`#${id}`).onclick = () => move(x);
}
for (const [id, from] of [["low-is", "own-low"], ["high-is", "own-high"], ["low-here", "low"],
                          ["high-here", "high"]])
  $(`#${id}`).textContent = number(network(pairs[from]).F, 2);
whenResized(show);
move(pairs["own-low"]);
