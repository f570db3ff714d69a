// What a notebook asks for (anywidget): one table per model, one plot per place where it is shown.
// This text is put behind uPlot's and `spectrum.js` in one module; `uPlot` is in scope.

const stores = new WeakMap();

function floats(view) {
  // A buffer may begin at any byte: numbers need a copy of their own.
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice();
  return new Float64Array(bytes.buffer);
}

function storeOf(model) {
  if (stores.has(model)) return stores.get(model);
  const store = { table: new Table(), plots: new Set(), run: "" };
  stores.set(model, store);
  const changed = () => store.plots.forEach((plot) => { plot.meta = meta(); plot.update(); });
  const meta = () => ({ ...model.get("meta") });
  const take = (names, first, parts) => {
    if (!store.table.put(first, names, parts)) model.send({ kind: "again" });
    changed();
  };
  const whole = () => {
    const names = model.get("meta").columns || [], view = model.get("table");
    if (!view || !view.byteLength || !names.length) return;
    const all = floats(view), count = all.length / names.length;
    store.table.clear();
    take(names, 0, names.map((_, i) => all.subarray(i * count, (i + 1) * count)));
  };
  model.on("msg:custom", (message, buffers) => {
    if (message.kind !== "rows") return;
    if (message.run !== store.run) { store.table.clear(); store.run = message.run; }
    take(message.names, message.first, buffers.map(floats));
  });
  model.on("change:meta", changed);
  model.on("change:table", whole);
  whole();
  return store;
}

export default {
  initialize({ model }) { storeOf(model); },
  render({ model, el }) {
    const store = storeOf(model);
    const plot = new SpectrumPlot(el, uPlot);
    plot.table = store.table;
    plot.meta = { ...model.get("meta") };
    store.plots.add(plot);
    plot.update();
    return () => { store.plots.delete(plot); plot.destroy(); };
  },
};
