// Light or dark: as the system says, until somebody asks for the other.

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

// Storage may be forbidden (a sandbox, a page from disk): then nothing is kept, and nothing else changes.
function stored(key) {
  try {
    return localStorage.getItem(key);
  } catch (error) {
    if (error instanceof DOMException) return null;
    throw error;
  }
}

function store(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

function isDark() {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : systemIsDark.matches;
}

function themeChanged() {
  byId("theme").textContent = isDark() ? "Light theme" : "Dark theme";
  document.dispatchEvent(new CustomEvent("themechange"));
}

function startTheme() {
  const kept = stored("report-theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
  byId("theme").hidden = false;
  byId("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    store("report-theme", document.documentElement.dataset.theme);
    themeChanged();
  });
  systemIsDark.addEventListener("change", themeChanged);
  themeChanged();
}
