// The derivative grows: pictures of every layer at the image that is shown, the derivative of the
// unit that is chosen, one entry of Eq. 5 spelled out. explain_play.js walks through the layers.
const MOST_TERMS = 6;
const chosen = {layer: "conv2", units: {}, pixel: 0};  // units: the one that is chosen of each
let layers = {}, pictured = null;

const EQUATIONS = {
  conv1: "Eq. 4 and 5, the first layer: H<sub>0</sub> is the image, and " +
    "∂x<sub>q</sub>/∂x<sub>i</sub> is 1 for q = i, else 0. The derivative <em>is</em> the " +
    "kernel, the same at every position.",
  pool1: "Eq. 5, W is 1 for the largest of four units and 0 for the other three.",
  conv2: "Eq. 5, a convolution: W is the kernel that leads to unit p. The factor f′ comes with " +
    "the activation.",
  flatten: "Nothing is computed, the units are only named anew: channel, row, column become one " +
    "number.",
  fc1: "Eq. 5, fully connected: from here on every unit sees the whole image. The factor f′ " +
    "comes with the activation.",
  fc2: "Eq. 6, the outputs before the softmax (<em>logits</em>). This is the derivative that the " +
    "attack reads.",
  softmax: "Eq. 6 with the softmax as activation: unit k enters with the weight " +
    "p<sub>j</sub>·([j = k] − p<sub>k</sub>).",
};
const FACTORS = {
  Tanh: "The factor f′ of Eq. 5: f′ = 1 − tanh².",
  ReLU: "The factor f′ of Eq. 5: 1 where the unit is above 0, else 0.",
  Sigmoid: "The factor f′ of Eq. 5: f′ = φ·(1 − φ).",
};
const equationOf = layer => FACTORS[layer.kind] ??
  EQUATIONS[layer.name === "pool2" ? "pool1" : layer.name];
// So many channels: so many pictures side by side
const MOSAIC = {20: 5, 50: 10, 800: 40, 500: 25, 10: 5};

// Where the maps of a layer lie in its mosaic: with one square of space between them, flat layers
// without
function mosaic({shape: [channels, rows, columns]}) {
  const gap = rows > 1 ? 1 : 0, across = MOSAIC[channels], high = channels / across;
  return {
    columns: across * (columns + gap) - gap, rows: high * (rows + gap) - gap,
    place: ([c, y, x]) =>
      [(c % across) * (columns + gap) + x, Math.floor(c / across) * (rows + gap) + y],
    unit: (column, row) => {
      const c = Math.floor(row / (rows + gap)) * across + Math.floor(column / (columns + gap));
      const y = Math.min(rows - 1, row % (rows + gap));
      const x = Math.min(columns - 1, column % (columns + gap));
      return [c, y, x];
    },
    spaced: (column, row) =>
      gap && (column % (columns + 1) === columns || row % (rows + 1) === rows),
  };
}

function drawMosaic(canvas, layer) {
  const {columns, rows, spaced, unit} = mosaic(layer), scale = largest(layer.value);
  const page = sheet(canvas, rows / columns);
  squares(page, columns, rows, n => {
    const at = [n % columns, Math.floor(n / columns)];
    return spaced(...at) ? null : diverging(layer.value[layer.number(...unit(...at))] / scale);
  });
  return page;
}

// The layers at another image: nothing is computed before it is asked for
const near = new Set();  // the sections of the derivative that are in sight
function look() {
  const state = shown();
  if (pictured === state || pictured && !near.size) return;
  pictured = state;
  layers = net.layers(state.run);
  if (!$("#layers canvas")) {
    showLayers();
    chosen.pixel = state.pair?.[0] ?? largestPlace(state.alpha);
    chosen.units = strongestPath(layers, page.target, chosen.pixel);
  }
  drawLayers();
  $("#grow-at").textContent = `Shown for ${page.name}, iteration ${state.iteration}.`;
  show();
}

const largestPlace = values => values.reduce((best, value, i) =>
  Math.abs(value) > Math.abs(values[best]) ? i : best, 0);

function drawLayers() {
  for (const layer of Object.values(layers)) drawMosaic($(`#layer-${layer.name} canvas`), layer);
}

function showLayers() {
  for (const layer of Object.values(layers)) {
    const canvas = make("canvas", [], {ariaHidden: "true"});
    const input = make("input", [], {type: "radio", name: "layer", value: layer.name});
    input.onchange = () => choose({layer: layer.name});
    const [channels, rows, columns] = layer.shape;
    const size = rows > 1 ? `${channels} × ${rows} × ${columns}` : `${channels} units`;
    const parts = [input, make("strong", layer.name), make("span", size), canvas];
    $("#layers").append(make("label", parts, {id: `layer-${layer.name}`}));
  }
}

// Changes the choice and shows it. Where the new unit does not feel the old pixel, the one it feels
// most is chosen.
function choose({layer = chosen.layer, unit = chosen.units[layer], pixel}) {
  chosen.layer = layer;
  chosen.units[layer] = unit;
  if (pixel !== undefined) chosen.pixel = pixel;
  else if (layers[layer].at(unit, chosen.pixel) === 0)
    chosen.pixel = steepest(layers[layer].derivative(unit));
  show();
}

function steepest({top, left, size, values}) {
  const best = largestPlace(values);
  return (top + Math.floor(best / size)) * SIDE + left + best % size;
}

function show() {
  const layer = layers[chosen.layer], p = chosen.units[chosen.layer];
  $(`input[value=${layer.name}]`).checked = true;
  showMaps(layer, p);
  showDerivative(layer, p);
  showEntry(layer, p);
  showWhatIf();
}

function showMaps(layer, p) {
  const {pen, width} = drawMosaic($("#maps"), layer), {columns, place} = mosaic(layer);
  const cell = width / columns, [c, y, x] = layer.place(p), at = place([c, y, x]);
  const spatial = layer.shape[1] > 1;
  if (cell > 40) layer.value.forEach((value, unit) => {
    const [column, row] = place(layer.place(unit));
    pen.fillStyle = Math.abs(value) / largest(layer.value) > 0.55 ? colours().onFull : colours().text;
    pen.font = "13px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.fillText(unit, (column + 0.5) * cell, (row + 0.4) * cell);
    pen.fillText(number(value, 3), (column + 0.5) * cell, (row + 0.75) * cell);
  });
  if (spatial) frame(pen, cell, ...place([c, 0, 0]), layer.shape[1]);
  else frame(pen, cell, ...at);
  $("#maps-title").textContent = `H of ${layer.name}`;
  $("#maps").ariaLabel = `The values of all ${layer.units} units of ${layer.name}; chosen: ` +
    `${layer.label(p)}, H = ${number(layer.value[p])}. Arrow keys choose another one.`;
  $("#value").textContent = `${layer.label(p)} = ${number(layer.value[p])}`;
  colourBar($("#maps-scale"), largest(layer.value));
  for (const [id, value, n] of [["channel", c, 0], ["row", y, 1], ["column", x, 2]])
    Object.assign($(`#${id}`), {value, max: layer.shape[n] - 1});
  $("#channel-name").textContent = spatial ? "channel" : "unit";
  for (const part of document.querySelectorAll(".spatial")) part.hidden = !spatial;
  if (spatial) showMap(layer, c, y, x);
}

function showMap(layer, channel, row, column) {
  const page = sheet($("#map"), 1), size = layer.shape[1], scale = largest(layer.value);
  squares(page, size, size, n => diverging(layer.value[layer.number(channel, 0, n)] / scale));
  frame(page.pen, page.width / size, column, row);
  $("#map").ariaLabel = `Channel ${channel} of ${layer.name} alone; chosen: row ${row}, ` +
    `column ${column}. Arrow keys choose another unit.`;
}

function showDerivative(layer, p) {
  const {top, left, size, values} = layer.derivative(p), most = largest(values);
  const page = sheet($("#derivative"), 1), cell = page.width / SIDE;
  const row = Math.floor(chosen.pixel / SIDE), column = chosen.pixel % SIDE;
  squares(page, SIDE, SIDE, n => diverging(layer.at(p, n) / most));
  page.pen.fillStyle = colours().dots;
  pictured.image.forEach((ink, n) => {  // the digit: dots, the larger the more ink
    const dot = 0.5 * cell * ink;
    const [x, y] = [n % SIDE, Math.floor(n / SIDE)].map(place => (place + 0.5) * cell - dot / 2);
    page.pen.fillRect(x, y, dot, dot);
  });
  frame(page.pen, cell, left, top, size);
  frame(page.pen, cell, column, row, 1, PURPLE);
  const seen = size === SIDE ? "the whole image" :
    `${size} × ${size} pixels, rows ${top} to ${top + size - 1} and columns ${left} to ` +
    `${left + size - 1}`;
  $("#sees").textContent = `${layer.label(p)} sees ${seen}. Largest derivative: ${number(most)}.`;
  $("#derivative").ariaLabel = `The derivative of ${layer.label(p)} drawn on the digit. ` +
    `${$("#sees").textContent} Chosen: pixel in row ${row}, column ${column}. ` +
    "Arrow keys choose another pixel.";
  colourBar($("#derivative-scale"), most);
  $("#pixel-row").value = row;
  $("#pixel-column").value = column;
}

function showEntry(layer, p) {
  const {terms, sum, slope, result} = layer.entry(p, chosen.pixel), {before} = layer;
  const pool = layer instanceof MaxPool;
  const position = `x(${Math.floor(chosen.pixel / SIDE)}, ${chosen.pixel % SIDE})`;
  $("#entry").textContent = `∂${layer.label(p)} / ∂${position}`;
  $("#equation").innerHTML = equationOf(layer);
  const order = pool ? terms : [...terms].sort((a, b) => Math.abs(b.product) - Math.abs(a.product));
  const blind = !layer.sees(p, chosen.pixel);
  $("#blind").hidden = !blind;
  $("#spelled").hidden = blind;
  if (blind) $("#blind").textContent = `${layer.label(p)} cannot see pixel ` +
    `${pixelName(chosen.pixel)}: it lies outside its window, so the derivative is 0.`;
  const alive = terms.filter(term => term.product).length;
  const most = pool ? 4 : Math.max(1, Math.min(MOST_TERMS, alive));
  const shown = order.slice(0, most), rest = order.slice(most);
  const howMany = terms.length > 1 ?
    `${terms.length} terms W · ∂H/∂x, ${alive} of them not 0` : "One term W · ∂H/∂x";
  $("#count").textContent = howMany + (alive > most ? `; the ${most} largest:` : ":");
  const rows = shown.map(({unit, weight, derivative, product}) => line([
    unitName(before, unit, pool ? poolNote(layer, p, unit) : ""),
    number(weight), number(derivative), number(product)]));
  const others = rest.reduce((all, term) => all + term.product, 0);
  if (rest.length) rows.push(total(`the other ${rest.length} terms`, others, "rest"));
  if (terms.length > 1) rows.push(total("sum of all terms", sum, "sum"));
  if (layer instanceof Activation) rows.push(total(slopeName(layer, p), slope, "slope"));
  rows.push(total(`∂${layer.label(p)} / ∂${position}`, result, "result"));
  $("#terms").replaceChildren(...rows);
  $("#before").textContent = `unit of ${before.name}`;
}

function slopeName(layer, p) {
  const value = number(layer.value[p]);
  return {Tanh: `f′ = 1 − (${value})²`, ReLU: `f′, 1 above 0: H = ${value}`,
          Sigmoid: `f′ = φ·(1 − φ), φ = ${value}`}[layer.kind];
}

function unitName(before, unit, note) {  // a button that goes one layer back, to the same pixel
  if (before.name === "x") return before.label(unit);
  const button = make("button", before.label(unit), {type: "button", title: "go to this unit"});
  button.onclick = () => choose({layer: before.name, unit, pixel: chosen.pixel});
  return [button, note];
}

function poolNote(layer, p, unit) {
  const {value} = layer.before, equals = layer.four(p).filter(q => value[q] === layer.value[p]);
  const first = equals.length > 1 ? " (the first of equals)" : "";
  const won = unit === layer.winner(p) ? `, the largest${first}` : "";
  return ` H = ${number(value[unit])}${won}`;
}

const line = ([first, ...others]) =>
  make("tr", [make("th", first, {scope: "row"}), ...others.map(text => make("td", text))]);
const total = (text, value, id) => {
  const cells = [make("th", text, {scope: "row", colSpan: 3}), make("td", number(value), {id})];
  return make("tr", cells, {className: "total"});
};

function whole(id) {  // a number field, kept within its limits
  const {value, min, max} = $(id);
  return Math.round(Math.max(+min, Math.min(+max, +value || 0)));
}

// What a click or an arrow key on a picture chooses
const here = () => {
  const layer = layers[chosen.layer];
  return {layer, at: layer.place(chosen.units[layer.name]), maps: mosaic(layer)};
};
pick($("#maps"), {
  size: () => [here().maps.columns, here().maps.rows],
  now: () => here().maps.place(here().at),
  skip: (column, row) => here().maps.spaced(column, row),
  choose: (column, row) => choose({unit: here().layer.number(...here().maps.unit(column, row))}),
});
pick($("#map"), {
  size: () => [here().layer.shape[2], here().layer.shape[1]],
  now: () => [here().at[2], here().at[1]],
  choose: (column, row) => choose({unit: here().layer.number(here().at[0], row, column)}),
});
pick($("#derivative"), {
  size: () => [SIDE, SIDE],
  now: () => [chosen.pixel % SIDE, Math.floor(chosen.pixel / SIDE)],
  choose: (column, row) => choose({pixel: row * SIDE + column}),
});
for (const id of ["#channel", "#row", "#column"])
  $(id).onchange = () =>
    choose({unit: here().layer.number(whole("#channel"), whole("#row"), whole("#column"))});
for (const id of ["#pixel-row", "#pixel-column"])
  $(id).onchange = () => choose({pixel: whole("#pixel-row") * SIDE + whole("#pixel-column")});
const sight = new IntersectionObserver(entries => {
  for (const {target, isIntersecting} of entries)
    if (isIntersecting) near.add(target.id);
    else near.delete(target.id);
  if (page.states.length) look();
}, {rootMargin: "300px"});
for (const id of ["#grow", "#what-if"]) sight.observe($(id));
window.addEventListener("beforeprint", () => { near.add("print"); look(); near.delete("print"); });
whenChanged(look);
whenResized(() => {
  if (!pictured) return;
  drawLayers();
  show();
});
