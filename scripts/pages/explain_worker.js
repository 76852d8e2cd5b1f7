// The engine beside the page: reading an image and the iterations of an attack in a worker, so that
// the page never stutters. Where the browser allows none, the same in the page itself, in slices.
//
//   const engine = new Engine(data);
//   engine.read(image)                      a promise of {logits, probabilities}; asked again
//                                           before it answers, it skips to the newest image
//   engine.attack(image, options, onState)  calls onState(state) for every `State`, the last one
//                                           has a reason; returns {cancel()}

// Answers requests {id, read: image}, {id, attack: {image, options}} or {cancel: id} by calling
// post({id, …}); between two iterations other requests have their turn
class Desk {
  constructor(net, post) { Object.assign(this, {net, post, cancelled: new Set()}); }
  receive({id, read, attack, cancel}) {
    if (cancel !== undefined) this.cancelled.add(cancel);
    else if (read) {
      const {logits, probabilities} = this.net.run(read);
      this.post({id, answer: {logits, probabilities}, last: true});
    } else this.goOn(id, new Attack(this.net, attack.image, attack.options));
  }
  goOn(id, attack) {
    if (this.cancelled.has(id)) return;
    const answer = attack.last;
    this.post({id, answer, last: answer.reason !== null});
    if (answer.reason === null) setTimeout(() => { attack.advance(); this.goOn(id, attack); });
  }
}

class Engine {
  constructor(data) {
    this.net = new Net(data);
    this.asked = new Map();  // {id: {message, hear}}
    this.count = 0;
    this.local = new Desk(this.net, message => this.hear(message));
    try {
      const {layers, weights} = data, file = new Blob([ENGINE], {type: "text/javascript"});
      this.worker = new Worker(URL.createObjectURL(file));
      this.worker.onmessage = ({data: message}) => this.hear(message);
      this.worker.onerror = event => { event.preventDefault(); this.withoutWorker(); };
      this.worker.postMessage({layers, weights});
    } catch { this.worker = null; }
  }
  withoutWorker() {
    this.worker = null;
    for (const {message} of this.asked.values()) this.send(message);
  }
  send(message) {
    if (this.worker) this.worker.postMessage(message);
    else setTimeout(() => this.local.receive(message));
  }
  ask(request, hear) {
    const message = {id: this.count++, ...request};
    this.asked.set(message.id, {message, hear});
    this.send(message);
    return message.id;
  }
  hear({id, answer, last}) {
    const hear = this.asked.get(id)?.hear;
    if (last) this.asked.delete(id);
    if (hear) hear(answer);
  }
  read(image) {
    this.newest = Float64Array.from(image);  // a pad may go on drawing on its own
    this.reading ??= new Promise(done => {
      const look = () => {
        const asked = this.newest;
        this.ask({read: asked}, answer => {
          if (asked !== this.newest) return look();
          this.reading = null;
          done(answer);
        });
      };
      look();
    });
    return this.reading;
  }
  attack(image, options, onState) {
    const request = {attack: {image: Float64Array.from(image), options}};
    const id = this.ask(request, parts => onState(new State(this.net, parts)));
    const cancel = () => {
      if (this.asked.delete(id)) this.send({cancel: id});
    };
    return {cancel};
  }
}

// In the worker: the first message is the network, the others are requests
if (typeof document === "undefined") {
  let desk = null;
  onmessage = ({data: message}) => {
    if (desk) desk.receive(message);
    else desk = new Desk(new Net(message), answer => postMessage(answer));
  };
}
// Here the engine ends: the worker runs the script of the page up to this line.
const ENGINE = document.currentScript.textContent.split("\n// Here the engine ends")[0];
