// What both pages draw with: numbers as text, the colours, pictures made of squares, and a plot
// with two axes.
const $ = css => document.querySelector(css);
const PURPLE = "#b0006d";  // pixel i
const ADDED = [213, 94, 0], REMOVED = [0, 114, 178];  // ink; told apart by the colour-blind

// The colours of light and dark pages
const dark = matchMedia("(prefers-color-scheme: dark)");
const LIGHT = {text: "#1a1a1a", ground: "#fff", muted: "#777", grid: "#ddd", zero: "#555",
               tint: "#eaf1f7", added: "#c25700", removed: "#12507e", mark: "#b0006d",
               dots: "rgb(0 0 0 / 60%)", onFull: "#fff", idle: [196, 196, 196]};
const DARK = {text: "#eee", ground: "#151515", muted: "#999", grid: "#3a3a3a", zero: "#aaa",
              tint: "#1d2f3d", added: "#ff9a4d", removed: "#6cb8ee", mark: "#ff7ac4",
              dots: "rgb(255 255 255 / 60%)", onFull: "#000", idle: [90, 90, 90]};
const colours = () => dark.matches ? DARK : LIGHT;

// 5 significant digits: 0.12346, −1.2346·10⁻⁷; 0 and 1 as they are
function number(value, digits = 5) {
  const size = Math.abs(value);
  if (size === 0 || size === 1) return value < 0 ? "−1" : `${size}`;
  if (size >= 1e-3 && size < 1e4) return value.toPrecision(digits).replace("-", "−");
  const [head, power] = value.toExponential(digits - 1).replace("-", "−").split("e");
  const raised = [...power.replace("+", "")].map(one =>
    one === "-" || one === "−" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[one]).join("");
  return `${head}·10${raised}`;
}

// A new element: make("td", "text", {title: "…"}) or make("tr", [child, …])
function make(tag, content = [], properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...[content].flat());
  return element;
}

// Below 0 orange, 0 nearly white, above 0 blue: told apart by the colour-blind, and by their
// darkness in print
const STOPS = [[127, 59, 8], [224, 130, 20], [247, 247, 247], [84, 150, 205], [8, 48, 107]];
const DARK_STOPS = [[255, 196, 130], [205, 110, 20], [34, 34, 34], [60, 120, 180],
                    [160, 212, 255]];
function diverging(part) {  // part: −1 to 1
  const place = (Math.max(-1, Math.min(1, part || 0)) + 1) * 2;
  const low = Math.min(3, Math.floor(place)), stops = dark.matches ? DARK_STOPS : STOPS;
  return stops[low].map((from, k) => from + (stops[low + 1][k] - from) * (place - low));
}
// Ink between 0 and 1: black on white, on a dark page white on black
const ink = part => Array(3).fill(255 * (dark.matches ? part : 1 - part));
const largest = values => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

// The canvas in the resolution of the screen; height = ratio · width. Returns its context and its
// size in CSS pixels.
function sheet(canvas, ratio) {
  const width = canvas.clientWidth, height = Math.round(width * ratio);
  const scale = window.devicePixelRatio;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  return {pen, width, height};
}

// columns × rows squares over the whole sheet; colour(n) is [r, g, b] of square n, row by row, or
// null for none
function squares({pen, width, height}, columns, rows, colour) {
  const small = new OffscreenCanvas(columns, rows), image = new ImageData(columns, rows);
  for (let n = 0; n < columns * rows; n++) {
    const rgb = colour(n);
    if (rgb) image.data.set([...rgb, 255], 4 * n);
  }
  small.getContext("2d").putImageData(image, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, width, height);
}

// A frame around size × size squares, dark with a light edge, to be seen on every ground
function frame(pen, cell, left, top, size = 1, colour = colours().text) {
  for (const [line, style] of [[5, colours().ground], [2.5, colour]]) {
    pen.lineWidth = line;
    pen.strokeStyle = style;
    pen.strokeRect(left * cell, top * cell, size * cell, size * cell);
  }
}

// A click on a picture of squares, or an arrow key where it has the focus, calls
// choose(column, row). size() gives [columns, rows], now() the square that is chosen,
// skip(column, row) is true for squares that arrow keys step over.
function pick(canvas, {size, now, choose, skip = () => false}) {
  const within = (value, count) => Math.max(0, Math.min(count - 1, value));
  canvas.addEventListener("click", event => {
    const [columns, rows] = size(), box = canvas.getBoundingClientRect();
    choose(within(Math.floor((event.clientX - box.left) / box.width * columns), columns),
           within(Math.floor((event.clientY - box.top) / box.height * rows), rows));
  });
  onArrows(canvas, (right, down) => {
    const [columns, rows] = size(), [column, row] = now();
    const far = skip(column + right, row + down) ? 2 : 1;
    choose(within(column + far * right, columns), within(row + far * down, rows));
  });
}

function onArrows(element, move) {
  const ways = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  element.addEventListener("keydown", event => {
    const way = ways[event.key];
    if (!way || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    move(...way, event.shiftKey);
  });
}

// A plot of points. groups: [{points: [index, …], radius, fill, stroke}], drawn in this order;
// axes: their two names; paths: [{points: [[x, y], …], dash, colour}]. The ranges are those of all
// points and 0.
function plot(canvas, {x, y, axes, groups, paths, ratio = 0.85}) {
  const {pen, px, py, x: [x0, x1], y: [y0, y1], clip} = axesOf(canvas, ratio, range(x), range(y));
  pen.fillStyle = colours().tint;  // where both have the sign that the attack wants
  pen.fillRect(px(0), py(y1), px(x1) - px(0), py(0) - py(y1));
  drawAxes({pen, px, py}, [x0, x1], [y0, y1], axes, canvas);
  clip();
  for (const {points, radius, fill, stroke} of groups)
    for (const i of points) {
      pen.beginPath();
      pen.arc(px(x[i]), py(y[i]), radius, 0, 7);
      if (fill) { pen.fillStyle = fill; pen.fill(); }
      if (stroke) { pen.lineWidth = 1.75; pen.strokeStyle = stroke; pen.stroke(); }
    }
  for (const path of paths) drawPath(pen, px, py, path);
  pen.restore();
}

// Lines over a common axis. series: [{points: [[x, y], …], colour, width, dash, label}]; a label
// stands at the line's end; cursor: an x that is marked; dots: [[x, y, colour], …]
function lines(canvas, {series, axes, cursor, dots = [], ratio = 0.75}) {
  const all = series.flatMap(({points}) => points), ends = all.map(([a]) => a);
  const x = [Math.min(...ends), Math.max(...ends, Math.min(...ends) + 1e-9)];
  const y = range(all.map(([, b]) => b)), place = axesOf(canvas, ratio, x, y, 26);
  const {pen, px, py, clip} = place;
  drawAxes(place, x, y, axes, canvas);
  clip();
  drawPath(pen, px, py, {points: [[cursor, y[0]], [cursor, y[1]]], colour: colours().zero});
  for (const one of series) drawPath(pen, px, py, one);
  for (const [a, b, colour] of dots) {
    pen.beginPath();
    pen.arc(px(a), py(b), 5, 0, 7);
    pen.fillStyle = colour;
    pen.fill();
  }
  pen.restore();
  drawLabels(place, series.filter(({label}) => label));
}

// The lines' names at their ends, moved apart where they would lie on each other
function drawLabels({pen, px, py}, series) {
  const ends = series.map(({points, ...style}) => ({...style, at: points.at(-1)}))
    .sort((one, other) => other.at[1] - one.at[1]);
  let above = -Infinity;
  pen.textAlign = "left";
  for (const {at, label, colour, width} of ends) {
    above = Math.max(above + 12, py(at[1]) + 4);
    pen.fillStyle = colour;
    pen.font = `${width > 2 ? "bold " : ""}13px system-ui, sans-serif`;
    pen.fillText(label, px(at[0]) + 5, above);
  }
}

// Where numbers lie on a canvas: px, py in its pixels, and clip(), which keeps drawings inside
function axesOf(canvas, ratio, x, y, edge = 12) {
  const {pen, width, height} = sheet(canvas, ratio), left = 58, bottom = 40, top = 28;
  const px = value => left + (value - x[0]) / (x[1] - x[0]) * (width - left - edge);
  const py = value => height - bottom - (value - y[0]) / (y[1] - y[0]) * (height - bottom - top);
  pen.font = "13px system-ui, sans-serif";
  const clip = () => {
    pen.save();
    pen.beginPath();
    pen.rect(left, top - 8, width - left, height - bottom - top + 8);
    pen.clip();
  };
  return {pen, px, py, x, y, clip};
}

function drawAxes({pen, px, py}, [x0, x1], [y0, y1], axes, canvas) {
  pen.lineWidth = 1;
  for (const value of ticks(x0, x1))
    tick(pen, [[px(value), py(y0)], [px(value), py(y1)]], value, "center", [0, 16]);
  for (const value of ticks(y0, y1))
    tick(pen, [[px(x0), py(value)], [px(x1), py(value)]], value, "right", [-6, 4]);
  pen.font = "15px system-ui, sans-serif";
  pen.textAlign = "right";
  pen.fillText(axes[0], px(x1), parseFloat(canvas.style.height) - 6);
  pen.textAlign = "left";
  pen.fillText(axes[1], 4, 16);
}

function drawPath(pen, px, py, {points, dash = [], colour, width = 2}) {
  pen.beginPath();
  points.forEach(([a, b]) => pen.lineTo(px(a), py(b)));
  pen.setLineDash(dash);
  pen.lineWidth = width;
  pen.strokeStyle = colour;
  pen.stroke();
  pen.setLineDash([]);
}

// A bar of the diverging colours, −most to most
function colourBar(canvas, most) {
  const {pen, width, height} = sheet(canvas, 0.1);
  const small = {pen, width, height: height - 18};
  squares(small, 65, 1, n => diverging(n / 32 - 1));
  pen.font = "13px system-ui, sans-serif";
  pen.fillStyle = colours().text;
  for (const [part, align] of [[-1, "left"], [0, "center"], [1, "right"]]) {
    pen.textAlign = align;
    pen.fillText(number(part * most, 3), (part + 1) / 2 * width, height - 4);
  }
}

function tick(pen, [from, to], value, align, [right, down]) {
  pen.strokeStyle = value === 0 ? colours().zero : colours().grid;
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
  pen.fillStyle = colours().text;
  pen.textAlign = align;
  pen.fillText(plain(value), from[0] + right, from[1] + down);
}

function plain(value) {  // a round number: 0.2, −5·10⁻⁷
  if (value !== 0 && Math.abs(value) < 1e-3) return number(value, 1);
  return `${+value.toPrecision(3)}`.replace("-", "−");
}

function range(values) {
  const low = Math.min(0, ...values), high = Math.max(0, ...values);
  const margin = 0.06 * (high - low) || 1;
  return [low - margin, high + margin];
}

function ticks(low, high) {  // about five round numbers
  const rough = (high - low) / 5, ten = 10 ** Math.floor(Math.log10(rough));
  const space = ten * [1, 2, 5, 10].find(factor => factor * ten >= rough), numbers = [];
  for (let k = Math.ceil(low / space); k * space <= high; k++) numbers.push(k * space);
  return numbers;
}

// Only where the width changes: on a telephone the height changes all the time
function whenResized(draw) {
  let width = document.body.clientWidth;
  new ResizeObserver(() => {
    if (document.body.clientWidth !== width) requestAnimationFrame(draw);
    width = document.body.clientWidth;
  }).observe(document.body);
  dark.addEventListener("change", draw);
}
