"use strict";
(() => {
  // plotly reads some tags in text; a name is shown as it is
  const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: "#1b1f24" };
  const config = { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "toImage"] };
  const isWide = () => window.innerWidth > 700;
  const legend = () => isWide()
    ? { x: 1.02, y: 0.5, yanchor: "middle", itemsizing: "constant" }
    : { orientation: "h", x: 0, y: -0.22, yanchor: "top", itemsizing: "constant" };

  function panel(box, data) {
    const traces = [];
    for (const line of data.lines) {
      if (line.low) {
        const band = { x: data.x, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: line.name };
        traces.push({ ...band, y: line.high });
        traces.push({ ...band, y: line.low, fill: "tonexty", fillcolor: line.colour + "26" });
      }
      traces.push({ x: data.x, y: line.y, customdata: line.values, name: plain(line.name), legendgroup: line.name, mode: "lines",
        line: { color: line.colour, width: 2, dash: line.dash },
        hovertemplate: "%{customdata:.4~g}<extra>" + plain(line.name) + "</extra>" });
    }
    const rows = isWide() ? 0 : data.lines.length;
    const y = { title: { text: plain(data.label) }, gridcolor: "#e6e8eb", zeroline: false, automargin: true, exponentformat: "power" };
    if (data.range) y.range = data.range;
    if (data.ticks.length) Object.assign(y, { tickmode: "array", tickvals: data.ticks, ticktext: data.words });
    return Plotly.newPlot(box, traces, {
      font, legend: legend(), hovermode: "x unified", showlegend: true, height: 320 + 16 * rows, margin: { l: 60, r: 10, t: 20, b: 45 },
      paper_bgcolor: "#fff", plot_bgcolor: "#fff", yaxis: y,
      xaxis: { title: { text: plain(data.unit) }, range: [data.x[0], data.x[data.x.length - 1]], gridcolor: "#e6e8eb", zeroline: false },
      shapes: data.given.map(([x0, x1]) => ({ type: "rect", xref: "x", yref: "paper", x0, x1, y0: 0, y1: 1, line: { width: 0 }, fillcolor: "#999999", opacity: 0.25, layer: "below" })),
    }, config);
  }

  function points(box, frames) {
    const traces = (cells) => cells.map((part) => ({ type: "scatter3d", mode: "markers", name: plain(part.name), x: part.x, y: part.y, z: part.z,
      marker: { size: part.size, color: part.colour, line: { width: 0 } }, hovertemplate: "%{x}, %{y}, %{z} um<extra>" + plain(part.name) + "</extra>" }));
    const axis = (text) => ({ title: { text }, backgroundcolor: "#fff", gridcolor: "#d5d9de", zeroline: false });
    const layout = { font, legend: legend(), height: isWide() ? 560 : 520, margin: { l: 0, r: 0, t: 10, b: 0 }, paper_bgcolor: "#fff", uirevision: "kept",
      scene: { aspectmode: "data", xaxis: axis("x, um"), yaxis: axis("y, um"), zaxis: axis("z, um"), camera: { eye: { x: 1.5, y: 1.5, z: 1.1 } }, uirevision: "kept" } };
    const last = frames.length - 1;
    const drawn = Plotly.newPlot(box, traces(frames[last].cells), layout, config);
    const bar = document.createElement("div");
    bar.className = "frames";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "Time shown");
    frames.forEach((frame, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = frame.name;
      button.setAttribute("aria-pressed", i === last);
      button.addEventListener("click", () => {
        for (const other of bar.children) other.setAttribute("aria-pressed", other === button);
        Plotly.react(box, traces(frame.cells), layout, config);
      });
      bar.append(button);
    });
    if (frames.length > 1) box.before(bar);
    return drawn;
  }

  const hasWebGl = (() => {
    try { return Boolean(document.createElement("canvas").getContext("webgl")); } catch { return false; }
  })();
  const kinds = { panel, points };
  for (const figure of document.querySelectorAll("figure[data-kind]")) {
    const kind = figure.dataset.kind;
    if (kind === "points" && !hasWebGl) continue;
    const box = figure.querySelector(".live");
    figure.classList.add("is-live");
    // what cannot be drawn leaves the still picture in its place
    Promise.resolve()
      .then(() => kinds[kind](box, JSON.parse(figure.querySelector("script").textContent)))
      .then(() => { figure.dataset.drawn = "yes"; })
      .catch(() => { figure.classList.remove("is-live"); figure.dataset.drawn = "no"; });
  }
  window.addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details.printed:not([open])")) {
      fold.open = true;
      fold.dataset.forPrint = "yes";
    }
  });
  window.addEventListener("afterprint", () => {
    for (const fold of document.querySelectorAll("details[data-for-print]")) {
      fold.open = false;
      delete fold.dataset.forPrint;
    }
  });
})();
