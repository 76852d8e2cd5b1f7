// Play: the way by which the chosen pixel acts most on the target, layer by layer, from the image
// on, so that its influence is seen to widen.
const PACE = 1600;  // milliseconds a layer
let walking = null;

function walk() {
  if (walking) return endWalk();
  const names = Object.keys(layers);
  chosen.units = strongestPath(layers, page.target, chosen.pixel);
  let place = 0;
  const next = () => {
    if (place === names.length) return endWalk();
    const layer = layers[names[place]], p = chosen.units[layer.name], {size} = layer.window(p);
    choose({layer: layer.name, unit: p, pixel: chosen.pixel});
    const all = layer.influence(chosen.pixel), felt = all.filter(value => value !== 0).length;
    $("#play-said").textContent = `${layer.name}: this unit sees ${size} × ${size} pixels; pixel ` +
      `${pixelName(chosen.pixel)} moves ${felt.toLocaleString("en")} of the layer’s ` +
      `${all.length.toLocaleString("en")} units.`;
    place += 1;
  };
  walking = setInterval(next, PACE);
  $("#play").textContent = "Stop";
  next();
}

function endWalk() {
  clearInterval(walking);
  walking = null;
  $("#play").textContent = "Play: walk through the layers";
}

$("#play").onclick = walk;
