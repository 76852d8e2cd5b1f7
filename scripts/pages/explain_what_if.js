// What if one pixel changed: the change of every logit that the derivative foretells, ∂z/∂x_i · δ,
// beside the one that the network gives; and both as curves over the pixel's value.
const CURVE = 33;  // places at which the network is asked
const what = {state: null, pixel: null, logits: [], slopes: [], class: null};  // class: null until one is chosen

// Called by whoever shows another image or pixel (explain_derivative.js)
function showWhatIf() {
  const i = chosen.pixel;
  if (what.state !== pictured || what.pixel !== i) {
    const {image, run} = pictured, output = layers[net.logits];
    Object.assign(what, {state: pictured, pixel: i, slopes: [...output.influence(i)]});
    what.logits = [...Array(CURVE).keys()].map(n => answer(image, i, n / (CURVE - 1)));
    what.at = run.logits;
    $("#what-value").value = Math.round(255 * (image[i] > 0.5 ? 0 : 1));
  }
  drawWhatIf();
}

function answer(image, i, value) {  // the logits with another value of pixel i
  const other = image.slice();
  other[i] = value;
  return net.run(other).logits;
}

function drawWhatIf() {
  const {image} = what.state, i = what.pixel, value = +$("#what-value").value / 255;
  const change = value - image[i], now = answer(image, i, value);
  $("#what-pixel").textContent = `Pixel i = ${pixelName(i)}`;
  $("#what-now").textContent = value.toFixed(2);
  const other = image.slice();
  other[i] = value;
  const page_ = sheet($("#what-image"), 1);
  squares(page_, SIDE, SIDE, altered(other, page.states[0].image));
  frame(page_.pen, page_.width / SIDE, i % SIDE, Math.floor(i / SIDE), 1, PURPLE);
  $("#what-image").ariaLabel = `The image with pixel ${pixelName(i)} at ${value.toFixed(2)}; it ` +
    `was ${image[i].toFixed(2)}. Arrow keys choose another pixel.`;
  const rows = what.slopes.map((slope, j) => {
    const told = slope * change, real = now[j] - what.at[j];
    return line([`${j}`, number(told, 4), number(real, 4), number(real - told, 3)]);
  });
  $("#what-rows").replaceChildren(...rows);
  showCurve(image[i], value, now);
  sayWhatIf(change, now);
}

function showCurve(was, value, now) {
  const j = what.class ?? page.target, {real, told} = {real: colours().removed, told: colours().added};
  const tangent = x => what.at[j] + what.slopes[j] * (x - was);
  lines($("#what-curve"), {
    series: [{points: what.logits.map((z, n) => [n / (CURVE - 1), z[j]]), colour: real, width: 3},
             {points: [[0, tangent(0)], [1, tangent(1)]], colour: told, width: 2, dash: [7, 4]}],
    axes: ["value of the pixel", `logit ${j}`], cursor: value,
    dots: [[was, what.at[j], colours().text], [value, now[j], real]],
  });
  $("#what-class").value = j;
  $("#what-curve").ariaLabel = `Logit ${j} over the pixel’s value: at ${value.toFixed(2)} it is ` +
    `${number(now[j], 4)}, foretold ${number(tangent(value), 4)}.`;
}

function sayWhatIf(change, now) {
  const told = what.slopes.map(slope => slope * change);
  const off = told.map((one, j) => Math.abs(now[j] - what.at[j] - one));
  const share = largest(off) / (largest(told) || 1), read = now.indexOf(Math.max(...now));
  $("#what-said").textContent = change === 0 ? "Nothing is changed yet: move the slider." :
    `A change of ${number(change, 2)}. ` + (share < 0.1 ?
    "The forecast is right within a tenth: here the network is nearly a plane." : share < 0.5 ?
    "The forecast has the right size, but the network has bent away from its plane." :
    "So far away the forecast fails: a derivative is about small changes, and on the way other " +
    "units won their max-pooling.") + ` The network reads ${article(read)}.`;
}

pick($("#what-image"), {
  size: () => [SIDE, SIDE],
  now: () => [chosen.pixel % SIDE, Math.floor(chosen.pixel / SIDE)],
  choose: (column, row) => choose({pixel: row * SIDE + column}),
});
$("#what-value").oninput = drawWhatIf;
for (const j of Array(10).keys()) $("#what-class").append(make("option", `${j}`, {value: j}));
$("#what-class").onchange = () => { what.class = +$("#what-class").value; drawWhatIf(); };
