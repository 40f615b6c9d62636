"use strict";
// Draws the figures, hides and shows schedules in all of them at once, and copies the command.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: false,
    typesetMath: false,
    doubleClick: "reset",
  };

  // A colour of the page, such as "--c0", or "--c0/2e" with an opacity, as plotly takes it.
  const painted = (value, colours) => {
    if (typeof value === "string" && value.startsWith("--")) {
      const [name, opacity = ""] = value.split("/");
      return colours.getPropertyValue(name).trim() + opacity;
    }
    if (Array.isArray(value)) return value.map((each) => painted(each, colours));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, painted(each, colours)]));
  };

  const boxes = [...document.querySelectorAll("input[data-schedule]")];
  const isShown = (number) => boxes.find((box) => box.dataset.schedule === String(number))?.checked ?? true;

  const draw = (width) => {
    const colours = getComputedStyle(root);
    for (const place of document.querySelectorAll("[data-figure]")) {
      const { data, layout } = painted(figures[place.dataset.figure], colours);
      for (const trace of data) trace.visible = isShown(trace.meta);
      for (const text of layout.annotations ?? []) text.visible = isShown(text.name);
      // A finger that moves over a figure scrolls the page.
      const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
      Plotly.react(place, data, { ...layout, dragmode, ...(width ? { width } : {}) }, config);
      if (!width) Plotly.Plots.resize(place);
    }
  };

  for (const box of boxes) box.addEventListener("change", () => draw());

  const copy = document.getElementById("copy");
  copy?.addEventListener("click", async () => {
    const command = document.getElementById("command");
    const said = document.getElementById("copied");
    try {
      await navigator.clipboard.writeText(command.textContent);
      said.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(command);
      said.textContent = "The command is selected: copy it with Ctrl+C.";
    }
  });

  const printed = (on) => {
    root.classList.toggle("printed", on);
    draw(on ? 620 : undefined); // the window's width says nothing of the paper's
  };
  addEventListener("beforeprint", () => printed(true));
  addEventListener("afterprint", () => printed(false));
  dark.addEventListener("change", () => draw());
  draw();
})();
