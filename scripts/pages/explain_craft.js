// The attack: α and β (Eq. 8 to 10), the saliency map of single pixels, the exact search for the
// best pair (Algorithm 3) and the loop of Algorithm 2, one iteration at a time.
// The same in Python: attack/saliency.py, attack/pairs.py, attack/crafting.py; plainly:
// attack/textbook.py.

// α_i = ∂F_t/∂x_i and β_i = Σ_{j≠t} ∂F_j/∂x_i for all pixels; F: "logits" or "probabilities"
function alphaBeta(net, run, target, of = "logits") {
  const name = of === "logits" ? net.logits : net.output;
  const own = oneHot(run.logits.length, target), others = own.map(one => 1 - one);
  return {alpha: net.pull(run, own, name), beta: net.pull(run, others, name)};
}

// The two directions that count: x = α and y = −β, for θ < 0 the opposite; −∞ outside Γ
function wanted({alpha, beta}, gamma, theta) {
  const sign = theta > 0 ? 1 : -1;
  const usable = alpha.map((a, i) => gamma[i] && Number.isFinite(a) && Number.isFinite(beta[i]));
  return {x: alpha.map((a, i) => usable[i] ? sign * a : -Infinity),
          y: beta.map((b, i) => usable[i] ? -sign * b : -Infinity)};
}

// Eq. 8 (θ > 0) or Eq. 9 (θ < 0): |α|·|β| where a pixel of Γ has both signs that are wanted, else 0
function saliency(sums, gamma, theta) {
  const {x, y} = wanted(sums, gamma, theta);
  return x.map((a, i) => a > 0 && y[i] > 0 ? a * y[i] : 0);
}

// Eq. 10: the pair p < q of Γ with the largest score −α·β of its sums, of equals the first.
// Returns {pair, score, survivors}, pair null and score 0 where no pair qualifies.
// survivors: no partner of p has more than X = max x and Y = max y, so no pair with p scores more
// than (x_p + X)·(y_p + Y); who cannot beat a pair that is known is dropped. Rounding changes
// nothing of this: rounded sums and products are monotone, too.
function bestPair(sums, gamma, theta) {
  const {x, y} = wanted(sums, gamma, theta), X = Math.max(...x), Y = Math.max(...y);
  const bound = x.map((a, p) => scoreOf(a + X, y[p] + Y));
  const known = scoreOfAGoodPair(x, y, bound);
  const survivors = [...bound.keys()].filter(p => bound[p] >= known);
  let best = -1, pair = null;
  for (let n = 0; n < survivors.length; n++)
    for (let m = n + 1; m < survivors.length; m++) {
      const p = survivors[n], q = survivors[m], one = scoreOf(x[p] + x[q], y[p] + y[q]);
      if (one > best) [best, pair] = [one, [p, q]];
    }
  return {pair, score: Math.max(best, 0), survivors};
}

const scoreOf = (a, b) => a > 0 && b > 0 ? a * b : -1;

// From the pixel with the largest bound to its best partner, twice; 0 where nothing qualifies
function scoreOfAGoodPair(x, y, bound) {
  let known = 0, p = bound.indexOf(Math.max(...bound));
  for (let time = 0; time < 2; time++) {
    const scores = x.map((a, q) => q === p ? -1 : scoreOf(a + x[p], y[q] + y[p]));
    p = scores.indexOf(Math.max(...scores));
    known = Math.max(known, scores[p]);
  }
  return known;
}

// Where Algorithm 2 stands before one iteration: {iteration, image, gamma, logits, probabilities,
// read, alpha, beta, pair, score, changed, reason}. read: the class; pair: what is changed next,
// null at the end; changed: the pixels that differ from the start; reason: null while it goes on.
class State {
  constructor(net, parts) {
    Object.assign(this, parts);
    Object.defineProperty(this, "net", {value: net});  // is no part that is copied
  }
  get run() { return this.net.run(this.image); }  // computed anew: values of all layers are large
}

// Algorithm 2, one pair of pixels an iteration.
// options: {target, theta, upsilon, of}; upsilon: Υ in percent, or null for no limit.
class Attack {
  constructor(net, image, {target, theta, upsilon, of = "logits"}) {
    const start = Float64Array.from(image);
    Object.assign(this, {net, start, target, theta, of, states: []});
    this.most = upsilon === null ? Infinity : Math.floor(start.length * upsilon / 200 + 1e-9);
    this.note(start, new Uint8Array(start.length).fill(1));
  }
  get last() { return this.states[this.states.length - 1]; }
  get reason() { return this.last.reason; }

  // One more iteration: both pixels of the pair are changed by θ; false when it has ended
  advance() {
    if (this.reason) return false;
    const image = this.last.image.slice(), gamma = this.last.gamma.slice();
    for (const i of this.last.pair) {
      image[i] = Math.max(0, Math.min(1, image[i] + this.theta));
      gamma[i] = image[i] !== 0 && image[i] !== 1;  // at 0 or 1 it leaves Γ
    }
    this.note(image, gamma);
    return true;
  }

  note(image, gamma) {
    const {net, start, theta, states} = this, iteration = states.length;
    const run = net.run(image), {logits, probabilities} = run;
    const read = logits.indexOf(Math.max(...logits));
    const sums = alphaBeta(net, run, this.target, this.of);
    const ended = this.stops(iteration, read, gamma);
    const {pair, score} = ended ? {pair: null, score: 0} : bestPair(sums, gamma, theta);
    const changed = [...start.keys()].filter(i => image[i] !== start[i]);
    const reason = ended ?? (pair ? null : "no_pair");
    states.push(new State(net, {iteration, image, gamma, logits, probabilities, read, ...sums, pair,
                                score, changed, reason}));
  }

  stops(iteration, read, gamma) {  // while s ≠ t and iter < max_iter and Γ ≠ ∅
    if (read === this.target) return iteration ? "target_reached" : "already_target";
    if (iteration >= this.most) return "max_iterations";
    return gamma.includes(1) ? null : "domain_empty";
  }
}
