// Draws a spectrum that grows while it is measured: newest pass bold, earlier passes thin, their
// sum with its error band, rows with bits hollow. Everything that a switch changes is computed here,
// in the browser, so that it works while the kernel is busy with the scan.

const UPWARDS = "#1f5fbf", DOWNWARDS = "#c85a00", EARLIER = "#9aa4b2", SUM = "#111111";
const MOST_EARLIER = 12;      // passes drawn one by one; the sum shows the others
const REDRAW_MS = 50;         // two drawings are never closer than this

// The rows so far: one growing Float64Array for each column.
export class Table {
  constructor() { this.columns = {}; this.rows = 0; }

  clear() { this.columns = {}; this.rows = 0; }

  // Take rows from number `first` on; false if some before them are missing.
  put(first, names, parts) {
    if (first > this.rows) return false;
    const count = parts.length ? parts[0].length : 0;
    names.forEach((name, i) => {
      let column = this.columns[name];
      if (!column || column.length < first + count) {
        const larger = new Float64Array(Math.max(1024, 2 * (first + count)));
        if (column) larger.set(column.subarray(0, this.rows));
        column = this.columns[name] = larger;
      }
      column.set(parts[i], first);
    });
    this.rows = Math.max(this.rows, first + count);
    return true;
  }

  get(name) {
    const column = this.columns[name];
    return column ? column.subarray(0, this.rows) : null;
  }
}

// Passes as sorted curves: [{number, upwards, x, y, bad}].
export function passesOf(table, meta, options) {
  const x = table.get(meta.axis), signal = table.get(meta.signal);
  if (!x || !signal) return [];
  const reference = options.normalise && meta.reference ? table.get(meta.reference) : null;
  const numbers = table.get("pass_number"), quality = table.get("quality");
  const found = new Map();
  for (let i = 0; i < x.length; i++) {
    const number = numbers ? numbers[i] : 1;
    const y = reference ? signal[i] / reference[i] : signal[i];
    if (!Number.isFinite(x[i]) || !Number.isFinite(y)) continue;
    if (!found.has(number)) found.set(number, []);
    const bad = quality ? (quality[i] & ~meta.harmless) !== 0 : false;
    found.get(number).push([x[i], y, bad]);
  }
  return [...found.keys()].sort((a, b) => a - b).map((number) => {
    const rows = found.get(number);
    const upwards = rows.length < 2 || rows[rows.length - 1][0] >= rows[0][0];
    rows.sort((a, b) => a[0] - b[0]);
    return { number, upwards, x: rows.map((r) => r[0]), y: rows.map((r) => r[1]),
             bad: rows.map((r) => r[2]) };
  });
}

// Mean and standard error of the good rows of all passes, in bins of one row's width.
export function meanOf(passes) {
  let width = 0;
  const rows = [];
  for (const pass of passes) {
    const steps = pass.x.slice(1).map((value, i) => value - pass.x[i]).filter((s) => s > 0);
    steps.sort((a, b) => a - b);
    if (steps.length) width = Math.max(width, steps[steps.length >> 1]);
    pass.x.forEach((x, i) => { if (!pass.bad[i]) rows.push([x, pass.y[i]]); });
  }
  if (!rows.length || !width) return { x: [], y: [], low: [], high: [] };
  const begin = Math.min(...passes.filter((p) => p.x.length).map((p) => p.x[0]));
  const bins = new Map();
  for (const [x, y] of rows) {
    const key = Math.floor((x - begin) / width + 1e-9);
    const bin = bins.get(key) || [0, 0, 0, 0];
    bin[0] += 1; bin[1] += x;
    const before = bin[2];
    bin[2] += (y - before) / bin[0];
    bin[3] += (y - before) * (y - bin[2]);
    bins.set(key, bin);
  }
  const mean = { x: [], y: [], low: [], high: [] };
  for (const key of [...bins.keys()].sort((a, b) => a - b)) {
    const [n, sum, y, squares] = bins.get(key);
    const error = n > 1 ? Math.sqrt(squares / (n - 1) / n) : 0;
    mean.x.push(sum / n); mean.y.push(y); mean.low.push(y - error); mean.high.push(y + error);
  }
  return mean;
}

export function slopeOf(x, y) {
  return y.map((_, i) => {
    const a = Math.max(0, i - 1), b = Math.min(x.length - 1, i + 1);
    return x[b] > x[a] ? (y[b] - y[a]) / (x[b] - x[a]) : null;
  });
}

// A plot in an element; `update` may be called as often as rows come.
export class SpectrumPlot {
  constructor(element, uPlot) {
    this.uPlot = uPlot;
    this.table = new Table();
    this.meta = { axis: "energy", signal: "", reference: "", unit: "", harmless: 1, title: "" };
    this.options = { normalise: true, sum: true, log: false, slope: false };
    this.shape = "";
    this.waiting = 0;
    element.classList.add("glidepath-spectrum");
    this.header = element.appendChild(document.createElement("header"));
    this.progress = element.appendChild(document.createElement("progress"));
    this.canvas = element.appendChild(document.createElement("div"));
    this.title = this.header.appendChild(document.createElement("span"));
    this.title.className = "title";
    for (const [key, label] of [["normalise", "normalised"], ["sum", "sum"], ["log", "log"],
                                ["slope", "derivative"]]) this.addSwitch(key, label);
    this.state = this.header.appendChild(document.createElement("span"));
    this.state.className = "state";
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(element);
  }

  addSwitch(key, text) {
    const label = this.header.appendChild(document.createElement("label"));
    const box = label.appendChild(document.createElement("input"));
    box.type = "checkbox"; box.checked = this.options[key]; box.name = key;
    label.append(text);
    box.addEventListener("change", () => {
      this.options[key] = box.checked; this.shape = ""; this.update();
    });
  }

  update() {
    if (this.waiting) return;
    this.waiting = setTimeout(() => { this.waiting = 0; this.draw(); }, REDRAW_MS);
  }

  draw() {
    const { meta, options } = this;
    this.title.textContent = meta.title || "";
    this.progress.max = Math.max(meta.expected || 1, this.table.rows);
    this.progress.value = this.table.rows;
    const passes = passesOf(this.table, meta, options);
    const bad = passes.reduce((sum, p) => sum + p.bad.filter(Boolean).length, 0);
    this.state.textContent = `${this.table.rows} of ${meta.expected || "?"} rows` +
      (bad ? `, ${bad} with bits` : "") + (meta.running ? "" : `, ${meta.status || "ended"}`);
    if (!passes.length) return;
    const { tables, series, bands } = this.curves(passes);
    const data = this.uPlot.join(tables);
    const shape = JSON.stringify([series.map((s) => [s.label, s.stroke]), options, meta.signal]);
    if (this.plot && shape === this.shape) { this.plot.setData(data, !this.zoomed()); return; }
    this.shape = shape;
    if (this.plot) this.plot.destroy();
    this.plot = new this.uPlot(this.layout(series, bands), data, this.canvas);
  }

  // Curves in the order in which they lie over each other.
  curves(passes) {
    const tables = [], series = [{ label: this.axisLabel() }], bands = [];
    const add = (x, y, style) => { tables.push([x, y]); series.push({ spanGaps: true, ...style }); };
    const shown = (pass) => this.options.slope ? slopeOf(pass.x, pass.y) : pass.y;
    const newest = passes[passes.length - 1];
    for (const pass of passes.slice(0, -1).slice(-MOST_EARLIER)) {
      add(pass.x, shown(pass), { label: `pass ${pass.number}`, stroke: EARLIER, width: 0.7,
                                 points: { show: false } });
    }
    if (this.options.sum && passes.length > 1) {
      const mean = meanOf(passes);
      const y = this.options.slope ? slopeOf(mean.x, mean.y) : mean.y;
      if (!this.options.slope) {
        add(mean.x, mean.high, { label: "sum + error", stroke: "#11111133", width: 0.5,
                                 points: { show: false } });
        add(mean.x, mean.low, { label: "sum - error", stroke: "#11111133", width: 0.5,
                                points: { show: false } });
        bands.push({ series: [series.length - 2, series.length - 1], fill: "#1111112e" });
      }
      add(mean.x, y, { label: "sum", stroke: SUM, width: 1.2, points: { show: false } });
    }
    add(newest.x, shown(newest), {
      label: `pass ${newest.number} (${newest.upwards ? "up" : "down"})`, width: 2,
      stroke: newest.upwards ? UPWARDS : DOWNWARDS, points: { show: false } });
    const spoilt = passes.flatMap((pass) => {
      const y = shown(pass);
      return pass.x.map((x, i) => [x, y[i], pass.bad[i]]).filter((row) => row[2]);
    }).sort((a, b) => a[0] - b[0]);
    if (spoilt.length) {
      add(spoilt.map((r) => r[0]), spoilt.map((r) => r[1]), {
        label: "rows with bits", stroke: "#b00020", width: 0, paths: () => null,
        points: { show: true, size: 6, fill: "#ffffff", width: 1.2 } });
    }
    return { tables, series, bands };
  }

  layout(series, bands) {
    const value = this.options.slope ? `d(${this.signalLabel()})/dE` : this.signalLabel();
    return {
      width: this.width(), height: 360, series, bands,
      scales: { x: { time: false }, y: { distr: this.options.log && !this.options.slope ? 3 : 1 } },
      axes: [{ label: this.axisLabel() }, { label: value, size: 70 }],
      legend: { live: true }, cursor: { drag: { x: true, y: true, uni: 30 } },
      hooks: { setScale: [(plot, key) => { if (key === "x") this.range = plot.scales.x; }] },
    };
  }

  // Whether the user looks at a part: new rows must not take that away.
  zoomed() {
    const x = this.plot.data[0], scale = this.plot.scales.x;
    return x.length > 1 && scale.min != null && (scale.min > x[0] || scale.max < x[x.length - 1]) &&
      this.plot.select !== undefined && this.userZoom();
  }

  userZoom() {
    const x = this.plot.data[0], scale = this.plot.scales.x;
    return (scale.max - scale.min) < 0.8 * (x[x.length - 1] - x[0]);
  }

  axisLabel() { return this.meta.unit ? `${this.meta.axis} (${this.meta.unit})` : this.meta.axis; }

  signalLabel() {
    return this.options.normalise && this.meta.reference
      ? `${this.meta.signal} / ${this.meta.reference}` : this.meta.signal;
  }

  width() { return Math.max(320, this.canvas.clientWidth || 800); }

  resize() { if (this.plot) this.plot.setSize({ width: this.width(), height: 360 }); }

  destroy() {
    clearTimeout(this.waiting);
    this.observer.disconnect();
    if (this.plot) this.plot.destroy();
  }
}
