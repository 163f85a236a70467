// The list at the left and the engine at the right: beside the conversation where there is room, else over it.
import { byId } from "./dom.js";

const KEY = "latent8.engine";
const WIDE = matchMedia("(min-width: 900px)"), WIDER = matchMedia("(min-width: 1200px)");

export class Layout {
  // onEngine(isOpen)
  constructor(onEngine) {
    this.onEngine = onEngine;
    this.open = { sidebar: false, engine: false };
  }

  get isWide() {
    return WIDE.matches;
  }

  start() {
    const arrange = () => {
      this.set("sidebar", WIDE.matches);
      this.set("engine", WIDER.matches && this.wantsEngine());
    };
    for (const width of [WIDE, WIDER]) width.addEventListener("change", arrange);
    arrange();
  }

  wantsEngine() {
    try {
      return localStorage.getItem(KEY) !== "closed";
    } catch {
      return true;
    }
  }

  toggle(panel) {
    const isOpen = !this.open[panel];
    if (isOpen && !WIDE.matches) this.closeDrawers();
    this.set(panel, isOpen);
    if (panel === "engine" && WIDER.matches) this.remember(isOpen);
    const target = isOpen ? byId(panel).querySelector("button") : document.querySelector(`main [data-action="toggle-${panel}"]`);
    if (!WIDE.matches) target.focus();
  }

  remember(isOpen) {
    try {
      localStorage.setItem(KEY, isOpen ? "open" : "closed");
    } catch {
      // it lasts until the page is left
    }
  }

  // Those that lie over the conversation. Returns whether there was one.
  closeDrawers() {
    if (WIDE.matches) return false;
    const panel = Object.keys(this.open).find((name) => this.open[name]);
    if (panel) this.toggle(panel);
    return panel !== undefined;
  }

  set(panel, isOpen) {
    this.open[panel] = isOpen;
    document.body.classList.toggle(`${panel}-open`, isOpen);
    byId(panel).inert = !isOpen;
    for (const button of document.querySelectorAll(`main [data-action="toggle-${panel}"]`)) button.setAttribute("aria-expanded", isOpen);
    document.querySelector("main").inert = !WIDE.matches && (this.open.sidebar || this.open.engine);
    if (panel === "engine") this.onEngine(isOpen);
  }
}
