// What both pages draw with: numbers as text, the colours, pictures made of squares, and a plot
// with two axes.
const $ = css => document.querySelector(css);
const INK = "#1a1a1a", BLUE = "#12507e", ORANGE = "#c25700";

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
function diverging(part) {  // part: −1 to 1
  const place = (Math.max(-1, Math.min(1, part || 0)) + 1) * 2;
  const low = Math.min(3, Math.floor(place));
  return STOPS[low].map((from, k) => from + (STOPS[low + 1][k] - from) * (place - low));
}
const grey = part => Array(3).fill(255 * (1 - part));
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
function frame(pen, cell, left, top, size = 1, colour = INK) {
  for (const [line, style] of [[5, "#fff"], [2.5, colour]]) {
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
  const {pen, width, height} = sheet(canvas, ratio), left = 58, bottom = 40, top = 28, edge = 12;
  const [x0, x1] = range(x), [y0, y1] = range(y);
  const px = value => left + (value - x0) / (x1 - x0) * (width - left - edge);
  const py = value => height - bottom - (value - y0) / (y1 - y0) * (height - bottom - top);
  pen.font = "13px system-ui, sans-serif";
  pen.fillStyle = "#eaf1f7";  // where both have the sign that the attack wants
  pen.fillRect(px(0), py(y1), px(x1) - px(0), py(0) - py(y1));
  pen.lineWidth = 1;
  for (const value of ticks(x0, x1))
    tick(pen, [[px(value), py(y0)], [px(value), py(y1)]], value, "center", [0, 16]);
  for (const value of ticks(y0, y1))
    tick(pen, [[px(x0), py(value)], [px(x1), py(value)]], value, "right", [-6, 4]);
  pen.textAlign = "right";
  pen.fillText(axes[0], width - edge, height - 6);
  pen.textAlign = "left";
  pen.fillText(axes[1], 4, 16);
  pen.save();
  pen.beginPath();
  pen.rect(left, top - 8, width - left, height - bottom - top + 8);
  pen.clip();
  for (const {points, radius, fill, stroke} of groups)
    for (const i of points) {
      pen.beginPath();
      pen.arc(px(x[i]), py(y[i]), radius, 0, 7);
      if (fill) { pen.fillStyle = fill; pen.fill(); }
      if (stroke) { pen.lineWidth = 1.75; pen.strokeStyle = stroke; pen.stroke(); }
    }
  for (const {points, dash = [], colour} of paths) {
    pen.beginPath();
    points.forEach(([a, b]) => pen.lineTo(px(a), py(b)));
    pen.setLineDash(dash);
    pen.lineWidth = 2;
    pen.strokeStyle = colour;
    pen.stroke();
  }
  pen.restore();
}

function tick(pen, [from, to], value, align, [right, down]) {
  pen.strokeStyle = value === 0 ? "#555" : "#ddd";
  pen.beginPath();
  pen.moveTo(...from);
  pen.lineTo(...to);
  pen.stroke();
  pen.fillStyle = INK;
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
}
