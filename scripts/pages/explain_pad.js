// The pad: a digit is drawn with pen and eraser, taken from the test set or from a picture, and
// brought into the form of MNIST's digits: scaled into 20×20 pixels, centred by mass.
const PEN = 1.5, RUBBER = 2.1;  // radii in pixels
const BOX = 20, CENTRE = 14;    // of MNIST's digits, in pixels
const pad = {ink: new Float64Array(SIDE * SIDE), cursor: [14, 14], last: null, empty: true};

// Values between 0 and 1 as a file of 8 bits would have them, in single precision
const eightBits = values => Float64Array.from(values, v => Math.fround(Math.round(255 * v) / 255));

// Ink along the line between two points, soft at its edge; the eraser takes it away
function stroke([fromX, fromY], [toX, toY]) {
  const erases = $("[name=tool]:checked").value === "eraser", radius = erases ? RUBBER : PEN;
  const alongX = toX - fromX, alongY = toY - fromY, square = alongX ** 2 + alongY ** 2;
  for (let i = 0; i < pad.ink.length; i++) {
    const x = i % SIDE + 0.5 - fromX, y = Math.floor(i / SIDE) + 0.5 - fromY;
    const part = square && Math.max(0, Math.min(1, (x * alongX + y * alongY) / square));
    const far = Math.hypot(x - part * alongX, y - part * alongY);
    const amount = Math.max(0, Math.min(1, radius - far));
    pad.ink[i] = erases ? Math.min(pad.ink[i], 1 - amount) : Math.max(pad.ink[i], amount);
  }
  drawn();
}

// The drawing has changed: what the network sees of it
function drawn(name = "your drawing") {
  const seen = $("#centre").checked ? centred(pad.ink, SIDE, SIDE) : pad.ink;
  load(eightBits(seen), name, "drawn");
}

function load(image, name, origin) {
  set({image, name, origin});
  showPad();
  showSeen();
  const asked = image;
  engine.read(image).then(answer => { if (asked === page.image) showReading(answer); });
}

// A picture (values, width × height, ink 1) as MNIST's digits are: its ink scaled into a box of
// 20×20 pixels, its centre of mass in the middle of 28×28
function centred(values, width, height) {
  let [left, right, top, bottom, mass, middleX, middleY] = [width, -1, height, -1, 0, 0, 0];
  values.forEach((value, n) => {
    const x = n % width, y = Math.floor(n / width);
    mass += value; middleX += value * x; middleY += value * y;
    if (value < 0.1) return;
    left = Math.min(left, x); right = Math.max(right, x);
    top = Math.min(top, y); bottom = Math.max(bottom, y);
  });
  if (right < 0) return new Float64Array(SIDE * SIDE);
  const scale = Math.max(right - left + 1, bottom - top + 1) / BOX;  // source pixels for one
  const at = [middleX / mass, middleY / mass];
  return Float64Array.from({length: SIDE * SIDE}, (_, i) =>
    sampled(values, width, height, at[0] + (i % SIDE - CENTRE) * scale,
            at[1] + (Math.floor(i / SIDE) - CENTRE) * scale, scale));
}

// The mean of a square of the source around (x, y), `size` wide, by interpolation
function sampled(values, width, height, x, y, size) {
  const value = (column, row) => column < 0 || row < 0 || column >= width || row >= height ? 0 :
    values[row * width + column];
  const steps = Math.max(2, Math.ceil(2 * size));
  let sum = 0;
  for (let v = 0; v < steps; v++)
    for (let u = 0; u < steps; u++) {
      const px = x + size * ((u + 0.5) / steps - 0.5), py = y + size * ((v + 0.5) / steps - 0.5);
      const column = Math.floor(px), row = Math.floor(py), a = px - column, b = py - row;
      sum += (1 - b) * ((1 - a) * value(column, row) + a * value(column + 1, row)) +
        b * ((1 - a) * value(column, row + 1) + a * value(column + 1, row + 1));
    }
  return sum / steps ** 2;
}

function showPad() {
  const focused = document.activeElement === $("#pad"), sheetOf = sheet($("#pad"), 1);
  squares(sheetOf, SIDE, SIDE, i => ink(pad.ink[i]));
  if (focused) frame(sheetOf.pen, sheetOf.width / SIDE, ...pad.cursor, 1, colours().mark);
  $("#pad").ariaLabel = `Drawing pad, 28 by 28 pixels. Frame at row ${pad.cursor[1]}, column ` +
    `${pad.cursor[0]}; arrow keys move it, the space bar inks.`;
}

function showSeen() {
  squares(sheet($("#seen"), 1), SIDE, SIDE, i => ink(page.image[i]));
  $("#seen").ariaLabel = `What the network sees: ${page.name}`;
  $("#centre-said").textContent = page.origin !== "drawn" ?
    `This is ${page.name}, as it is.` : $("#centre").checked ?
    "Your drawing was moved and scaled. Switch it off: the network, which has only seen centred " +
    "digits, often misreads." : "Your drawing as it stands on the pad.";
}

function showReading(answer) {
  const read = answer.logits.indexOf(Math.max(...answer.logits));
  $("#read").textContent = `The network reads ${article(read)} ` +
    `(${percent(answer.probabilities[read])})`;
  $("#reading").replaceChildren(...scoreRows(answer));
}

function takeDigit(digit) {
  pad.ink = imageOf(digit.image);
  pad.empty = true;  // the next stroke begins on a clean pad
  $("#pad-said").textContent = "";
  load(pad.ink.slice(), `test digit ${digit.number}, ${article(digit.label)}`, digit.number);
}

function another() {
  const others = data.digits.filter(({number: n}) => n !== page.origin);
  takeDigit(others[Math.floor(Math.random() * others.length)]);
}

// A picture file: grey, dark on light turned, its ink centred
async function takeFile(file) {
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    $("#pad-said").textContent = `${file.name} is no picture that this browser can read.`;
    return;
  }
  const scale = Math.min(1, 280 / Math.max(picture.width, picture.height));
  const width = Math.max(1, Math.round(picture.width * scale));
  const height = Math.max(1, Math.round(picture.height * scale));
  const pen = new OffscreenCanvas(width, height).getContext("2d");
  pen.fillStyle = "#fff";  // behind what is transparent
  pen.fillRect(0, 0, width, height);
  pen.drawImage(picture, 0, 0, width, height);
  const {data: rgba} = pen.getImageData(0, 0, width, height);
  let values = Float64Array.from({length: width * height}, (_, n) =>
    (0.299 * rgba[4 * n] + 0.587 * rgba[4 * n + 1] + 0.114 * rgba[4 * n + 2]) / 255);
  const edge = values.filter((_, n) => n < width || n >= values.length - width ||
    n % width === 0 || n % width === width - 1);
  const light = edge.reduce((sum, value) => sum + value, 0) / edge.length > 0.5;
  if (light) values = values.map(value => 1 - value);
  pad.ink = centred(values, width, height);
  pad.empty = true;
  drawn(file.name);
  $("#pad-said").textContent = `${file.name}: ${picture.width} × ${picture.height} pixels, ` +
    `scaled to 28 × 28${light ? ", dark on light turned into light on dark" : ""}.`;
}

function place(event) {  // in pixels of the pad
  const box = $("#pad").getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * SIDE,
          (event.clientY - box.top) / box.height * SIDE];
}

function startDrawing() {  // a test digit makes room for the first stroke
  if (pad.empty && $("[name=tool]:checked").value === "pen") pad.ink.fill(0);
  pad.empty = false;
  $("#pad-said").textContent = "";
}

$("#pad").onpointerdown = event => {
  $("#pad").setPointerCapture(event.pointerId);
  startDrawing();
  pad.last = place(event);
  stroke(pad.last, pad.last);
};
$("#pad").onpointermove = event => {
  if (!pad.last) return;
  const here = place(event);
  stroke(pad.last, here);
  pad.last = here;
};
for (const end of ["onpointerup", "onpointercancel"]) $("#pad")[end] = () => { pad.last = null; };
onArrows($("#pad"), (right, down) => {
  pad.cursor = pad.cursor.map((at, k) => Math.max(0, Math.min(SIDE - 1, at + [right, down][k])));
  showPad();
});
$("#pad").addEventListener("keydown", event => {
  if (event.key !== " ") return;
  event.preventDefault();
  startDrawing();
  const at = pad.cursor.map(one => one + 0.5);
  stroke(at, at);
});
for (const kind of ["focus", "blur"]) $("#pad").addEventListener(kind, showPad);
$("#clear").onclick = () => { pad.ink.fill(0); pad.empty = false; drawn(); };
$("#centre").onchange = () => { if (page.origin === "drawn") drawn(page.name); };
$("#file").onchange = () => { if ($("#file").files[0]) takeFile($("#file").files[0]); };
$("#pad").ondragover = event => event.preventDefault();
$("#pad").ondrop = event => {
  event.preventDefault();
  if (event.dataTransfer.files[0]) takeFile(event.dataTransfer.files[0]);
};
for (const digit of data.digits.slice(0, 10)) {
  const button = make("button", `${digit.label}`, {type: "button"});
  button.onclick = () => takeDigit(digit);
  $("#digits").append(" ", button);
}
$("#digits").append(" ", make("button", "another", {type: "button", id: "another",
                                                     onclick: another}));
whenResized(() => { showPad(); showSeen(); });
