// The network and its forward derivative (Eq. 4 to 6), spelled out, one unit at a time.
//
// Eq. 5 is written only once, in Layer.equation, because every layer answers the same questions:
//   each(p, visit)   W_p: calls visit(q, w) for every unit q of the layer before that enters
//                    unit p, with its weight w
//   slope(p)         f'_p, the slope of the activation; 1 where the layer has none
//   window(p)        the square of pixels that unit p can see (its receptive field)
// Units are numbered in the order channel, row, column; pixels in the order row, column.
// Values come from explain_fast.js, and so do whole rows of the derivative, by the transposed
// chain.
// The same equation in Python, plainly: nn/textbook.py.
const SIDE = 28;

class Layer {
  // name, shape: of the layer; size, stride: of the windows, in pixels; here: value and winners
  // of this layer at one image, and pull(p), the derivative of unit p for all pixels
  constructor({name, shape}, before, size, stride, here) {
    Object.assign(this, {name, shape, before, size, stride, here, value: here.value});
    this.units = shape[0] * shape[1] * shape[2];
    this.rows = [];      // the derivatives of units that were asked for already
    this.column = null;  // {pixel, values}: the last pixel that was asked for
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
  sees(p, pixel) {
    const {top, left, size} = this.window(p);
    const row = Math.floor(pixel / SIDE) - top, column = pixel % SIDE - left;
    return row >= 0 && row < size && column >= 0 && column < size;
  }

  // Eq. 5 for one unit and one pixel: [∂H_k/∂x_i]_p = (W_p · ∂H_{k-1}/∂x_i) × f'_p
  // inner: ∂H_{k-1}/∂x_i of all units of the layer before; visit is called with every term
  equation(p, inner, visit) {
    let sum = 0;
    this.each(p, (unit, weight) => {
      const product = weight * inner[unit];
      if (visit) visit({unit, weight, derivative: inner[unit], product});
      sum += product;
    });
    const slope = this.slope(p);
    return {sum, slope, result: sum * slope};
  }

  // ∂H/∂x_i of all units for one pixel i: Eq. 5, layer after layer
  influence(pixel) {
    if (this.column?.pixel === pixel) return this.column.values;
    const inner = this.before.influence(pixel), values = new Float64Array(this.units);
    for (let p = 0; p < this.units; p++)
      if (this.sees(p, pixel)) values[p] = this.equation(p, inner).result;
    this.column = {pixel, values};
    return values;
  }

  // Eq. 5 spelled out: its terms W_pq · ∂H_q/∂x_i, their sum, f' and the result
  entry(p, pixel) {
    const terms = [];
    return {terms, ...this.equation(p, this.before.influence(pixel), term => terms.push(term))};
  }

  // ∂H_p/∂x, for all pixels of the window of unit p: {top, left, size, values}
  derivative(p) { return this.rows[p] ??= this.cut(p, this.here.pull(p)); }
  cut(p, pixels) {
    const {top, left, size} = this.window(p), values = new Float64Array(size * size);
    for (let row = 0; row < size; row++)
      for (let column = 0; column < size; column++)
        values[row * size + column] = pixels[(top + row) * SIDE + left + column];
    return {top, left, size, values};
  }

  // ∂H_p/∂x_i for one pixel; 0 outside the window
  at(p, pixel) {
    const {top, left, size, values} = this.derivative(p);
    const row = Math.floor(pixel / SIDE) - top, column = pixel % SIDE - left;
    return this.sees(p, pixel) ? values[row * size + column] : 0;
  }
}

class Pixels extends Layer {  // the image itself: ∂x_q/∂x_i is 1 for q = i and 0 for all others
  constructor(image) { super({name: "x", shape: [1, SIDE, SIDE]}, null, 1, 1, {value: image}); }
  label(p) { return `x(${Math.floor(p / SIDE)}, ${p % SIDE})`; }
  influence(pixel) {
    const values = new Float64Array(this.units);
    values[pixel] = 1;
    return values;
  }
  derivative(p) { return {...this.window(p), values: Float64Array.of(1)}; }
}

// z[o, y, x] = Σ W[o, c, dy, dx] · H[c, y + dy, x + dx] + b[o], kernels of 5 × 5
class Conv extends Layer {
  constructor(layer, before, here) {
    super(layer, before, before.size + 4 * before.stride, before.stride, here);
    this.weight = layer.weight;
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
  constructor(layer, before, here) {
    super(layer, before, before.size + before.stride, 2 * before.stride, here);
  }
  four(p) {
    const [channel, row, column] = this.place(p);
    const corner = this.before.number(channel, 2 * row, 2 * column);
    const below = corner + this.before.shape[2];
    return [corner, corner + 1, below, below + 1];
  }
  winner(p) { return this.here.winners[p]; }
  each(p, visit) {
    const winner = this.winner(p);
    for (const q of this.four(p)) visit(q, q === winner ? 1 : 0);
  }
}

// Each unit on its own: H = f(H of the layer before); f' follows from H alone
const SLOPES = {Tanh: H => 1 - H * H, ReLU: H => H > 0 ? 1 : 0, Sigmoid: H => H * (1 - H)};
class Activation extends Layer {
  constructor(layer, before, here) {
    super(layer, before, before.size, before.stride, here);
    this.kind = layer.kind;
  }
  slope(p) { return SLOPES[this.kind](this.value[p]); }
  window(p) { return this.before.window(p); }
  each(p, visit) { visit(p, 1); }
}

class Flatten extends Layer {  // all units in one row: nothing is computed
  constructor(layer, before, here) { super(layer, before, before.size, before.stride, here); }
  window(p) { return this.before.window(p); }
  each(p, visit) { visit(p, 1); }
}

class Linear extends Layer {  // z_p = Σ W[p, q] · H_q + b[p]; every unit sees the whole image
  constructor(layer, before, here) {
    super(layer, before, SIDE, 0, here);
    this.weight = layer.weight;
  }
  each(p, visit) {
    const width = this.before.units;
    for (let q = 0; q < width; q++) visit(q, this.weight[p * width + q]);
  }
}

// p_j = e^{z_j} / Σ e^{z_k}: z_k enters ∂p_j/∂x with the weight ∂p_j/∂z_k = p_j · ([j = k] − p_k)
class Softmax extends Layer {
  constructor(layer, before, here) { super(layer, before, SIDE, 0, here); }
  each(p, visit) {
    const share = this.value;  // 1 − p_j is the sum of all others: no digits are lost where p_j ≈ 1
    const rest = share.reduce((sum, value, j) => j === p ? sum : sum + value, 0);
    for (let q = 0; q < this.units; q++) visit(q, share[p] * (p === q ? rest : -share[q]));
  }
}

const KINDS = {Conv2d: Conv, MaxPool2d: MaxPool, Tanh: Activation, ReLU: Activation,
               Sigmoid: Activation, Flatten, Linear, Softmax};

// The way by which one pixel acts most on output `target`, from the output back: of all terms of
// the unit that was reached (Eq. 5), the largest leads to the next. Returns {layer: unit}.
function strongestPath(layers, target, pixel) {
  const path = {};
  let unit = target;
  for (const layer of Object.values(layers).reverse()) {
    path[layer.name] = unit;
    unit = layer.entry(unit, pixel).terms.reduce(stronger).unit;
  }
  return path;
}

function stronger(one, other) {  // of terms that are all 0 the largest weight: max-pooling's winner
  const difference = Math.abs(other.product) - Math.abs(one.product);
  return (difference || Math.abs(other.weight) - Math.abs(one.weight)) > 0 ? other : one;
}
