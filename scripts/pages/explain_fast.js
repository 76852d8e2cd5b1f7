// The same network fast: values of all layers at one image (Eq. 4), and the transposed chain, which
// carries v back from any layer to the pixels: vᵀ·∂H/∂x. In double precision, plain loops.
//
//   const net = new Net(data);          data: {layers: [{name, kind, shape}], weights: base64}
//   const run = net.run(image);         run.logits, run.probabilities, run.values.conv1, …
//   net.pull(run, v);                   Float64Array(784): Σ_j v_j · ∂logit_j/∂x
//   net.layers(run).conv2.entry(p, i);  the spelled-out half, see explain_network.js
// A sum is made in the order in which Layer.each names its terms.

// Each is called with a layer of the net and the layer's input, and returns the layer's values
const FORWARD = {
  Conv2d({weight, bias, units, shape: [channels, rows, columns], before}, input) {
    const [inner, height, width] = before, size = rows * columns;
    const value = new Float64Array(units);
    for (let out = 0, tap = 0; out < channels; out++) {
      value.fill(bias[out], out * size, (out + 1) * size);
      for (let channel = 0; channel < inner; channel++)
        for (let dy = 0; dy < 5; dy++, tap += 5) {
          const a = weight[tap], b = weight[tap + 1], c = weight[tap + 2], d = weight[tap + 3],
                e = weight[tap + 4];
          let to = out * size, from = (channel * height + dy) * width;
          for (let row = 0; row < rows; row++, from += 4)
            for (let column = 0; column < columns; column++, to++, from++)
              value[to] = value[to] + a * input[from] + b * input[from + 1] + c * input[from + 2] +
                d * input[from + 3] + e * input[from + 4];
        }
    }
    return value;
  },
  MaxPool2d({units, shape: [, rows, columns], before: [, , width]}, input, winners) {
    const value = new Float64Array(units);
    for (let p = 0; p < units; p++) {
      const row = Math.floor(p / columns), column = p % columns;  // of all channels together
      let best = 2 * row * width + 2 * column;
      for (const q of [best + 1, best + width, best + width + 1])
        if (input[q] > input[best]) best = q;
      winners[p] = best;
      value[p] = input[best];
    }
    return value;
  },
  Tanh: (layer, input) => input.map(Math.tanh),
  ReLU: (layer, input) => input.map(z => Math.max(z, 0)),
  Sigmoid: (layer, input) => input.map(z => 1 / (1 + Math.exp(-z))),
  Flatten: (layer, input) => input,
  Linear({weight, bias, units}, input) {
    const value = Float64Array.from(bias), width = input.length;
    for (let p = 0, tap = 0; p < units; p++) {
      let sum = bias[p];
      for (let q = 0; q < width; q++) sum += weight[tap++] * input[q];
      value[p] = sum;
    }
    return value;
  },
  Softmax: (layer, input) => softmax(input),
};

// Each is called with a layer, v for each of its units, its values and its winners, and returns v
// for each unit of the layer before
const BACKWARD = {
  Conv2d({weight, units, shape: [, rows, columns], before}, v) {
    const [inner, height, width] = before, back = new Float64Array(inner * height * width);
    for (let p = 0; p < units; p++) {
      const g = v[p];
      if (g === 0) continue;  // behind a max-pooling: all but its winners
      const out = Math.floor(p / (rows * columns)), row = Math.floor(p / columns) % rows;
      let tap = out * inner * 25;
      for (let channel = 0; channel < inner; channel++)
        for (let dy = 0; dy < 5; dy++, tap += 5) {
          const to = (channel * height + row + dy) * width + p % columns;
          back[to] += g * weight[tap];
          back[to + 1] += g * weight[tap + 1];
          back[to + 2] += g * weight[tap + 2];
          back[to + 3] += g * weight[tap + 3];
          back[to + 4] += g * weight[tap + 4];
        }
    }
    return back;
  },
  MaxPool2d({units, before}, v, value, winners) {
    const back = new Float64Array(before[0] * before[1] * before[2]);
    for (let p = 0; p < units; p++) back[winners[p]] = v[p];
    return back;
  },
  Flatten: (layer, v) => v,
  Linear({weight, units, before: [width]}, v) {
    const back = new Float64Array(width);
    for (let p = 0, tap = 0; p < units; p++) {
      const g = v[p];
      for (let q = 0; q < width; q++) back[q] += g * weight[tap++];
    }
    return back;
  },
  // ∂p_j/∂z_k = p_j · ([j = k] − p_k); a number added to all v changes nothing, so that of the
  // largest p is subtracted: no digits are lost where p is nearly 1
  Softmax(layer, v, value) {
    const top = v[value.indexOf(Math.max(...value))], less = v.map(one => one - top);
    const mean = less.reduce((sum, one, j) => sum + one * value[j], 0);
    return less.map((one, k) => value[k] * (one - mean));
  },
};
for (const [kind, slope] of Object.entries(SLOPES))
  BACKWARD[kind] = (layer, v, value) => v.map((one, p) => one * slope(value[p]));

class Net {
  constructor({layers, weights}) {
    let before = [1, SIDE, SIDE];
    this.chain = layers.map(({name, kind, shape}) => {
      const [weight, bias] = ["weight", "bias"].map(key => weights[`${name}.${key}`])
        .map(text => text && floats(text));
      const units = shape[0] * shape[1] * shape[2];
      const layer = {name, kind, shape, before, weight, bias, units};
      before = shape;
      return layer;
    });
    this.names = layers.map(({name}) => name);
    [this.logits, this.output] = this.names.slice(-2);  // the names of the last two layers
  }

  // Eq. 4 for all layers; the image is copied
  run(image) {
    const run = {image: Float64Array.from(image), values: {}, winners: {}};
    let value = run.image;
    for (const layer of this.chain) {
      const winners = run.winners[layer.name] = new Int32Array(
        layer.kind === "MaxPool2d" ? layer.units : 0);
      value = run.values[layer.name] = FORWARD[layer.kind](layer, value, winners);
    }
    return Object.assign(run, {logits: run.values[this.logits],
                               probabilities: run.values[this.output]});
  }

  // Σ_p v_p · ∂H_p/∂x over the units of layer `name`, by default the logits
  pull(run, v, name = this.logits) {
    let back = Float64Array.from(v);
    for (let k = this.names.indexOf(name); k >= 0; k--) {
      const layer = this.chain[k];
      back = BACKWARD[layer.kind](layer, back, run.values[layer.name], run.winners[layer.name]);
    }
    return back;
  }

  // {conv1: Layer, …}: the spelled-out half at this image; nothing is computed before it is asked
  layers(run) {
    const layers = {};
    let before = new Pixels(run.image);
    for (const layer of this.chain) {
      const {name, kind, units} = layer;
      const pull = p => this.pull(run, oneHot(units, p), name);
      const here = {value: run.values[name], winners: run.winners[name], pull};
      before = layers[name] = new KINDS[kind](layer, before, here);
    }
    return layers;
  }
}

function oneHot(length, place) {
  const values = new Float64Array(length);
  values[place] = 1;
  return values;
}

function softmax(z) {
  const largest = Math.max(...z), e = Float64Array.from(z, value => Math.exp(value - largest));
  const total = e.reduce((sum, value) => sum + value);
  return e.map(value => value / total);
}

function bytes(text) {  // of base64
  const letters = atob(text), values = new Uint8Array(letters.length);
  for (let n = 0; n < values.length; n++) values[n] = letters.charCodeAt(n);
  return values;
}

const floats = text => new Float32Array(bytes(text).buffer);  // lowest byte first

// An image of 0 to 255 in [0, 1], in single precision as the library reads it
const imageOf = text => Float64Array.from(bytes(text), value => Math.fround(value / 255));
