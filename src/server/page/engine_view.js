// The engine, live: what /v1/stats says, a point a second, while somebody looks.
import { getJson } from "./api.js";
import { byId, element, iconButton, svg } from "./dom.js";
import { settings } from "./settings.js";

const PERIOD_MS = 1000;
const POINTS = 60;
const WIDTH = 240, HEIGHT = 44;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const share = (part, all) => (all > 0 ? `${((part / all) * 100).toFixed(0)} %` : "0 %");

// The last minute of a number.
class Chart {
  constructor(label, unit) {
    this.values = [];
    this.number = element("span", { class: "number" }, "0");
    this.line = svg("path", { class: "line" });
    this.area = svg("path", { class: "area" });
    this.node = element("div", { class: "chart" },
      element("div", { class: "chart-head" }, element("dt", {}, label),
        element("dd", {}, this.number, element("span", { class: "unit" }, unit))),
      svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.area, this.line));
  }

  add(value) {
    this.values = [...this.values, value].slice(-POINTS);
    this.number.textContent = whole.format(value);
    const top = Math.max(...this.values, 1);
    const points = this.values.map((v, i) => {
      const x = WIDTH - (this.values.length - 1 - i) * (WIDTH / (POINTS - 1));
      return `${x.toFixed(1)},${(HEIGHT - 2 - (v / top) * (HEIGHT - 6)).toFixed(1)}`;
    });
    const line = `M${points.join("L")}`;
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", `${line}L${WIDTH},${HEIGHT}L${points[0].split(",")[0]},${HEIGHT}Z`);
  }
}

export class EngineView {
  constructor(onClose) {
    this.generated = new Chart("Generating", "tokens/s");
    this.prompts = new Chart("Reading prompts", "tokens/s");
    this.batch = new Chart("In the batch", "answers");
    this.meter = element("meter", { min: 0, max: 1, value: 0, "aria-label": "Cache in use" });
    this.state = element("p", { class: "state quiet", role: "status" });
    this.values = element("dl", { class: "values" });
    this.cache = element("dd");
    byId("engine").replaceChildren(
      element("header", {}, element("h2", {}, "Engine"), iconButton("close", "Close the engine view", onClose)),
      this.state,
      element("dl", { class: "charts" }, this.generated.node, this.prompts.node, this.batch.node,
        element("div", { class: "chart" }, element("div", { class: "chart-head" }, element("dt", {}, "Cache"), this.cache), this.meter)),
      this.values);
    document.addEventListener("visibilitychange", () => this.schedule());
  }

  // Asks as long as it is open and the window can be seen.
  open(isOpen) {
    this.isOpen = isOpen;
    this.schedule();
  }

  schedule() {
    clearTimeout(this.timer);
    if (!this.isOpen || document.hidden) this.before = null;
    else this.poll();
  }

  async poll() {
    clearTimeout(this.timer);
    try {
      this.show(await getJson("v1/stats", settings.key));
    } catch (error) {
      this.before = null;
      this.state.textContent = error.status === 401 ? "The server asks for an API key: see the settings." : "The server cannot be reached.";
      this.state.classList.add("down");
    }
    if (this.isOpen && !document.hidden) this.timer = setTimeout(() => this.poll(), PERIOD_MS);
  }

  show(stats) {
    const now = performance.now();
    if (this.before) {
      const time = (now - this.before.now) / 1000;
      this.generated.add((stats.generated_tokens - this.before.stats.generated_tokens) / time);
      this.prompts.add((stats.prefill_tokens - this.before.stats.prefill_tokens) / time);
    }
    this.before = { now, stats };
    this.batch.add(stats.running);
    this.state.classList.remove("down");
    this.state.textContent = stats.model;
    const { pages, free_pages: free, page_tokens: size } = stats.cache;
    const used = pages > 0 ? 1 - free / pages : 0;
    this.meter.value = used;
    this.cache.replaceChildren(element("span", { class: "number" }, (used * 100).toFixed(used > 0 && used < 0.1 ? 1 : 0)),
      element("span", { class: "unit" }, "%"));
    this.showValues([
      ["Queue", whole.format(stats.waiting)],
      ["Pages in use", `${whole.format(pages - free)} of ${whole.format(pages)}`],
      ["Cache holds", `${short.format(pages * size)} tokens`],
      ["Prompts from the cache", share(stats.prefix_hit_tokens, stats.prefix_query_tokens)],
      ["Preemptions", whole.format(stats.preemptions)],
      ["Steps", short.format(stats.steps)],
      ["Tokens generated", short.format(stats.generated_tokens)],
      ["Context", `${short.format(stats.max_model_len)} tokens`],
    ]);
  }

  showValues(rows) {
    this.values.replaceChildren(...rows.map(([name, value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  }
}
