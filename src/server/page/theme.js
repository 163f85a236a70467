// The chosen theme, before the first paint: that is why this is no module. Without a choice the system decides.
"use strict";

const THEMES = ["system", "light", "dark"];

function chosenTheme() {
  try {
    const theme = localStorage.getItem("latent8.theme");
    return THEMES.includes(theme) ? theme : "system";
  } catch {
    return "system"; // storage is switched off
  }
}

function showTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  showTheme(theme);
  try {
    localStorage.setItem("latent8.theme", theme);
  } catch {
    // it lasts until the page is left
  }
  return theme;
}

showTheme(chosenTheme());
