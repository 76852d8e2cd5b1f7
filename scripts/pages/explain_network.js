// The LeNet and its forward derivative (Eq. 4 to 6), one unit at a time, in double precision.
//
// Eq. 5 is written only once, in Layer.propagate, because every layer answers the same questions:
//   each(p, visit)   W_p: calls visit(q, w) for every unit q of the layer before that enters
//                    unit p, with its weight w
//   slope(p)         f'_p, the slope of the activation; 1 where the layer has none
//   window(p)        the square of pixels that unit p can see (its receptive field)
// Units are numbered in the order channel, row, column; pixels in the order row, column.
// The same equation in Python, plainly: nn/textbook.py.
const SIDE = 28;

class Layer {
  constructor(name, shape, before, size, stride) {  // size, stride: of the windows, in pixels
    Object.assign(this, {name, shape, before, size, stride});
    this.units = shape[0] * shape[1] * shape[2];
    this.value = new Float64Array(this.units);  // H
    this.known = new Array(this.units);         // the derivatives that were asked for already
  }
  slope() { return 1; }
  place(p) {  // channel, row, column of unit p
    const [, rows, columns] = this.shape;
    return [Math.floor(p / (rows * columns)), Math.floor(p / columns) % rows, p % columns];
  }
  number(channel, row, column) { return (channel * this.shape[1] + row) * this.shape[2] + column; }
  label(p) { return `${this.name}[${this.shape[1] > 1 ? this.place(p).join(", ") : p}]`; }
  window(p) {
    const [, row, column] = this.place(p);
    return {top: row * this.stride, left: column * this.stride, size: this.size};
  }

  // ∂H_p/∂x, for all pixels of the window of unit p: {top, left, size, values}
  derivative(p) { return this.known[p] ??= this.propagate(p); }

  // Eq. 5: [∂H_k/∂x_i]_p = (W_p · ∂H_{k-1}/∂x_i) × f'_p, for all pixels i of the window at once
  propagate(p) {
    const {top, left, size} = this.window(p), values = new Float64Array(size * size);
    this.each(p, (q, w) => {
      if (w === 0) return;
      const inner = this.before.derivative(q);
      for (let row = 0; row < inner.size; row++) {
        let to = (inner.top - top + row) * size + inner.left - left, from = row * inner.size;
        for (let column = 0; column < inner.size; column++)
          values[to++] += w * inner.values[from++];
      }
    });
    const slope = this.slope(p);
    for (let i = 0; slope !== 1 && i < values.length; i++) values[i] *= slope;
    return {top, left, size, values};
  }

  // ∂H_p/∂x_i for one pixel; 0 outside the window
  at(p, pixel) {
    const {top, left, size, values} = this.derivative(p);
    const row = Math.floor(pixel / SIDE) - top, column = pixel % SIDE - left;
    return row >= 0 && row < size && column >= 0 && column < size ? values[row * size + column] : 0;
  }

  // Eq. 5 for one unit and one pixel, spelled out: its terms W_pq · ∂H_q/∂x_i, their sum, f' and
  // the result
  entry(p, pixel) {
    const terms = [];
    let sum = 0;
    this.each(p, (unit, weight) => {
      const derivative = this.before.at(unit, pixel), product = weight * derivative;
      terms.push({unit, weight, derivative, product});
      sum += product;
    });
    return {terms, sum, slope: this.slope(p), result: sum * this.slope(p)};
  }

  // W·H + b, the value of a layer with weights
  weigh(p, bias) {
    let sum = bias;
    this.each(p, (q, w) => { sum += w * this.before.value[q]; });
    return sum;
  }
}

class Pixels extends Layer {  // the image itself: ∂x_q/∂x_i is 1 for q = i and 0 for all others
  constructor(image) {
    super("x", [1, SIDE, SIDE], null, 1, 1);
    this.value.set(image);
  }
  label(p) { return `x(${Math.floor(p / SIDE)}, ${p % SIDE})`; }
  propagate(p) { return {...this.window(p), values: [1]}; }
}

// z[o, y, x] = Σ W[o, c, dy, dx] · H[c, y + dy, x + dx] + b[o], kernels of 5 × 5
class Conv extends Layer {
  constructor(name, before, weight, bias) {
    const [, rows, columns] = before.shape;
    super(name, [bias.length, rows - 4, columns - 4], before,
          before.size + 4 * before.stride, before.stride);
    this.weight = weight;
    for (let p = 0; p < this.units; p++) this.value[p] = this.weigh(p, bias[this.place(p)[0]]);
  }
  each(p, visit) {
    const [out, row, column] = this.place(p), channels = this.before.shape[0];
    let tap = out * channels * 25;
    for (let channel = 0; channel < channels; channel++)
      for (let dy = 0; dy < 5; dy++)
        for (let dx = 0; dx < 5; dx++)
          visit(this.before.number(channel, row + dy, column + dx), this.weight[tap++]);
  }
}

// The largest of 2 × 2 units has the weight 1; of equals the first one, row by row
class MaxPool extends Layer {
  constructor(name, before) {
    const [channels, rows, columns] = before.shape;
    super(name, [channels, rows / 2, columns / 2], before,
          before.size + before.stride, 2 * before.stride);
    for (let p = 0; p < this.units; p++) this.value[p] = before.value[this.winner(p)];
  }
  four(p) {
    const [channel, row, column] = this.place(p);
    const corner = this.before.number(channel, 2 * row, 2 * column);
    const below = corner + this.before.shape[2];
    return [corner, corner + 1, below, below + 1];
  }
  winner(p) {
    const value = this.before.value;
    return this.four(p).reduce((best, q) => value[q] > value[best] ? q : best);
  }
  each(p, visit) {
    const winner = this.winner(p);
    for (const q of this.four(p)) visit(q, q === winner ? 1 : 0);
  }
}

class Tanh extends Layer {  // f' = 1 − tanh²
  constructor(name, before) {
    super(name, before.shape, before, before.size, before.stride);
    this.value.set(before.value.map(Math.tanh));
  }
  slope(p) { return 1 - this.value[p] ** 2; }
  each(p, visit) { visit(p, 1); }
}

class Flatten extends Layer {  // all units in one row: nothing is computed
  constructor(name, before) {
    super(name, [before.units, 1, 1], before, before.size, before.stride);
    this.value.set(before.value);
  }
  window(p) { return this.before.window(p); }
  each(p, visit) { visit(p, 1); }
}

class Linear extends Layer {  // z_p = Σ W[p, q] · H_q + b[p]; every unit sees the whole image
  constructor(name, before, weight, bias) {
    super(name, [bias.length, 1, 1], before, SIDE, 0);
    this.weight = weight;
    for (let p = 0; p < this.units; p++) this.value[p] = this.weigh(p, bias[p]);
  }
  each(p, visit) {
    const width = this.before.units;
    for (let q = 0; q < width; q++) visit(q, this.weight[p * width + q]);
  }
}

// p_j = e^{z_j} / Σ e^{z_k}: z_k enters ∂p_j/∂x with the weight ∂p_j/∂z_k = p_j · ([j = k] − p_k)
class Softmax extends Layer {
  constructor(name, before) {
    super(name, before.shape, before, SIDE, 0);
    this.value.set(softmax(before.value));
  }
  each(p, visit) {
    const share = this.value;
    for (let q = 0; q < this.units; q++) visit(q, share[p] * ((p === q) - share[q]));
  }
}

function softmax(z) {
  const largest = Math.max(...z), e = Array.from(z, value => Math.exp(value - largest));
  const total = e.reduce((sum, value) => sum + value);
  return e.map(value => value / total);
}

// The LeNet of Fig. 8 at one image: {conv1, pool1, tanh1, conv2, pool2, tanh2, flatten, fc1, tanh3,
// fc2, softmax}
function lenet(weights, image) {
  const layers = {};
  let last = new Pixels(image);
  const add = (Kind, name) => {
    layers[name] = last = new Kind(name, last, weights[`${name}.weight`], weights[`${name}.bias`]);
  };
  for (const number of [1, 2]) {
    add(Conv, `conv${number}`);
    add(MaxPool, `pool${number}`);
    add(Tanh, `tanh${number}`);
  }
  add(Flatten, "flatten");
  add(Linear, "fc1");
  add(Tanh, "tanh3");
  add(Linear, "fc2");
  add(Softmax, "softmax");
  return layers;
}

// α_i = ∂F_t/∂x_i and β_i = Σ_{j≠t} ∂F_j/∂x_i of an output layer (Eq. 8 to 10), for all pixels
function sums(layer, target) {
  const alpha = Float64Array.from(layer.derivative(target).values);
  const beta = new Float64Array(alpha.length);
  for (let j = 0; j < layer.units; j++)
    if (j !== target) layer.derivative(j).values.forEach((value, i) => { beta[i] += value; });
  return {alpha, beta};
}
