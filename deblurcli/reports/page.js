"use strict";
/* Draws the page from its data. Nothing is loaded; every picture is in the data. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const page = document.getElementById("page");
  const SVG = "http://www.w3.org/2000/svg";

  /** An element: its attributes (class, text and listeners by name), and what is in it. */
  function make(tag, attributes = {}, ...children) {
    const svg = ["svg", "path", "line", "text", "rect", "image"].includes(tag);
    const made = svg ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "text") made.textContent = value;
      else if (typeof value === "function") made.addEventListener(name, value);
      else if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }
  const section = (id, title, ...children) =>
    make("section", { "aria-labelledby": id }, make("h2", { id, text: title }), ...children);
  const clock = (seconds) => seconds.toFixed(2) + " s";
  const moment = (frame) => "frame " + frame.number + ", " + clock(frame.seconds);
  const picture = (source, alt) =>
    make("img", { src: source, alt, width: data.size[0], height: data.size[1], draggable: "false" });
  const [before, after] = data.labels;

  /* The two files. */
  const files = document.getElementById("files");
  data.files.forEach((file, index) => {
    const kind = index ? "of-after" : "of-before";
    files.append(make("li", {}, make("span", { class: "key " + kind + (index ? "" : " dashed"), "aria-hidden": "true" }),
      make("b", { text: data.labels[index] }), " " + file.name + (file.about ? ", " + file.about : "")));
  });

  /* The viewer: a key frame in both versions. */
  let shown = data.shown || 0, view = "slider", at = 50;
  const stage = make("div", { class: "stage" });
  const caption = make("p", { class: "quiet at", "aria-live": "polite" });
  const tag = (text, side) => make("span", { class: "tag " + side, text, "aria-hidden": "true" });
  const marks = make("input", { type: "checkbox", id: "marks", change: draw });

  function marked(holder) {
    if (!marks.checked || !data.crops) return holder;
    const [width, height] = data.source;
    data.crops.places.forEach((place, index) => {
      const mark = make("div", { class: "mark", "aria-hidden": "true" }, make("span", { text: index + 1 }));
      mark.style.left = 100 * place.x / width + "%";
      mark.style.top = 100 * place.y / height + "%";
      mark.style.width = 100 * data.crops.side / width + "%";
      mark.style.height = 100 * data.crops.side / height + "%";
      holder.append(mark);
    });
    return holder;
  }

  function draw() {
    const frame = data.frames[shown];
    const old = picture(frame.before, before + ", " + moment(frame));
    const now = picture(frame.after, after + ", " + moment(frame));
    const double = window.innerHeight * 0.78 * data.size[0] / data.size[1] * (view === "side" ? 2 : 1);
    stage.style.width = Math.min(double, 2 * Math.max(data.source[0], 640)) + "px";
    stage.className = "stage" + { slider: "", side: " side", apart: " apart" }[view];
    stage.replaceChildren();
    if (view === "side") {
      stage.append(marked(make("div", { class: "half" }, old, tag(before, "left"))),
        marked(make("div", { class: "half" }, now, tag(after, "left"))));
    } else if (view === "apart") {
      now.className = "top";
      stage.append(make("div", { class: "blend" }, old, now), tag("difference \u00d7 4", "left"));
      marked(stage);
    } else {
      old.className = "top";
      const slide = make("input", {
        class: "slide", id: "slide", type: "range", min: 0, max: 100, step: 0.5, value: at,
        "aria-label": "Divider between " + before + " on the left and " + after + " on the right",
        input: () => move(slide),
      });
      stage.append(now, old, tag(before, "left"), tag(after, "right"));
      marked(stage);
      stage.append(make("div", { class: "bar", "aria-hidden": "true" }), slide);
      move(slide);
    }
    caption.textContent = data.video ? "Frame " + frame.number + " at " + clock(frame.seconds) : "";
    thumbs.querySelectorAll("button").forEach((button, index) =>
      button.setAttribute("aria-current", String(index === shown)));
  }

  function move(slide) {
    at = Number(slide.value);
    stage.style.setProperty("--at", at + "%");
    const share = Math.round(at);
    slide.setAttribute("aria-valuetext", share + " % " + before + ", " + (100 - share) + " % " + after);
  }

  const choices = [["slider", "Slider"], ["side", "Side by side"], ["apart", "Difference"]];
  const choice = make("fieldset", { class: "choice", "aria-label": "How to look" }, ...choices.map(([value, text]) =>
    make("label", {}, make("input", {
      type: "radio", name: "view", value, checked: value === view ? "" : null,
      change: () => { view = value; draw(); },
    }), text)));
  const thumbs = make("div", { class: "thumbs screen", role: "group", "aria-label": "Key frames" });
  if (data.frames.length > 1) {
    data.frames.forEach((frame, index) => thumbs.append(make("button", {
      type: "button", "aria-label": "Show " + moment(frame),
      click: () => { shown = index; draw(); },
    }, make("img", { src: frame.after, alt: "" }), make("span", { text: clock(frame.seconds) }))));
  }
  const tools = make("div", { class: "tools" }, choice);
  if (data.crops) tools.append(make("label", { class: "marks" }, marks, "show where the crops are"));
  page.append(make("section", { class: "screen", "aria-label": "Before and after" }, tools, stage, caption, thumbs));
  window.addEventListener("resize", () => { if (document.activeElement.id !== "slide") draw(); });
  page.append(make("div", { class: "print" }, ...data.frames.flatMap((frame) => [[before, frame.before], [after, frame.after]]
    .map(([name, source]) => make("figure", {}, make("img", { src: source, alt: name }),
      make("figcaption", { text: name + (data.video ? ", " + moment(frame) : "") }))))));

  for (const line of data.said) page.append(make("p", { text: line }));

  /* Crops: the same places, over time. */
  if (data.crops) {
    const blocks = data.crops.places.map((place, index) => {
      const row = make("div", { class: "crops", tabindex: "0", role: "group", "aria-label": "Crop " + (index + 1) },
        make("div", { class: "rows", "aria-hidden": "true" }, make("span", { text: before }), make("span", { text: after })));
      for (const piece of place.moments) {
        const frame = data.frames[piece.frame];
        const words = "crop " + (index + 1) + (data.video ? ", " + moment(frame) : "");
        row.append(make("figure", {}, make("img", { src: piece.before, alt: before + ", " + words }),
          make("img", { src: piece.after, alt: after + ", " + words }),
          ...(data.video ? [make("figcaption", { text: moment(frame) })] : [])));
      }
      const where = data.crops.side + " pixels wide, at " + place.x + ", " + place.y + "; " + before + " above, " + after + " below";
      return [make("h3", { text: "Crop " + (index + 1) }), make("p", { class: "quiet", text: where }), row];
    });
    page.append(section("crops", "Where the change is largest", ...blocks.flat()));
  }

  /* Charts. */
  const COLOURS = ["var(--after)", "var(--before)", "var(--third)", "var(--fourth)", "var(--fifth)"];
  const DASHES = ["", "7 4", "2 3", "10 3 2 3", "4 2"];

  function ticks(low, high) {
    const rough = (high - low) / 5 || 1, unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((each) => each * unit >= rough) * unit;
    const found = [];
    for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(value);
    return found.map((value) => Number(value.toPrecision(6)));
  }

  /** Lines over x, drawn anew for every width. series: name, x, y, colour, dash; falling: small values at the top. */
  function chart(about) {
    const holder = make("div", { class: "chart" });
    let width = 0;
    new ResizeObserver(() => {
      if (Math.abs(holder.clientWidth - width) < 8) return;
      width = holder.clientWidth;
      holder.replaceChildren(...drawn({ ...about, wide: width }));
    }).observe(holder);
    return holder;
  }

  function drawn({ series, label, unit, across, falling, wide, marks: places = [] }) {
    const tall = wide < 500 ? 200 : 260, left = 44, bottom = 40, right = 12, top = 12;
    const xs = series.flatMap((one) => one.x), ys = series.flatMap((one) => one.y.filter((value) => value !== null));
    const bounds = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    if (bounds[0] === bounds[1]) bounds[1] += 1;
    const room = (bounds[3] - bounds[2] || 1) * 0.06;
    bounds[2] -= room; bounds[3] += room;
    const toX = (x) => left + (x - bounds[0]) / (bounds[1] - bounds[0]) * (wide - left - right);
    const share = (y) => (y - bounds[2]) / (bounds[3] - bounds[2]);
    const toY = (y) => top + (falling ? share(y) : 1 - share(y)) * (tall - top - bottom);
    const svg = make("svg", { viewBox: "0 0 " + wide + " " + tall, role: "img", "aria-label": label });
    for (const y of ticks(bounds[2], bounds[3])) {
      svg.append(make("line", { class: "grid", x1: left, x2: wide - right, y1: toY(y), y2: toY(y) }),
        make("text", { x: left - 8, y: toY(y) + 4, "text-anchor": "end", text: y }));
    }
    for (const x of ticks(bounds[0], bounds[1]).filter((x) => toX(x) < wide - right - 10)) {
      svg.append(make("text", { x: toX(x), y: tall - bottom + 18, "text-anchor": "middle", text: x }));
    }
    for (const x of places) svg.append(make("line", { class: "tick", x1: toX(x), x2: toX(x), y1: tall - bottom - 7, y2: tall - bottom }));
    svg.append(make("text", { x: wide - right, y: tall - 1, "text-anchor": "end", text: across }));
    svg.append(make("text", { x: 0, y: tall - bottom + 18, text: unit }));
    series.forEach((one, index) => {
      let path = "";
      one.x.forEach((x, at) => { if (one.y[at] !== null) path += (path ? "L" : "M") + toX(x).toFixed(1) + " " + toY(one.y[at]).toFixed(1); });
      one.colour = one.colour || COLOURS[index % COLOURS.length];
      one.dash = one.dash === undefined ? DASHES[index % DASHES.length] : one.dash;
      svg.append(make("path", { d: path, stroke: one.colour, "stroke-dasharray": one.dash, class: one.bold ? "bold" : null }));
    });
    const hover = make("line", { class: "hover", y1: top, y2: tall - bottom, visibility: "hidden" });
    svg.append(hover);
    const values = series.map(() => make("b"));
    const legend = make("div", { class: "legend" }, ...series.map((one, index) => {
      const line = { d: "M0 4H30", stroke: one.colour, "stroke-dasharray": one.dash, class: one.bold ? "bold" : null };
      const key = make("svg", { viewBox: "0 0 30 8", "aria-hidden": "true" }, make("path", line));
      return make("span", {}, key, one.name + " ", values[index]);
    }));
    const readout = make("span", { class: "quiet" });
    legend.append(readout);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = bounds[0] + ((event.clientX - box.left) / box.width * wide - left) / (wide - left - right) * (bounds[1] - bounds[0]);
      series.forEach((one, index) => {
        let near = 0;
        one.x.forEach((value, at) => { if (Math.abs(value - x) < Math.abs(one.x[near] - x)) near = at; });
        values[index].textContent = one.y[near] === null ? "" : one.y[near].toFixed(2) + " " + unit;
        if (!index) {
          hover.setAttribute("x1", toX(one.x[near])); hover.setAttribute("x2", toX(one.x[near]));
          hover.setAttribute("visibility", "visible"); readout.textContent = "at " + Number(one.x[near].toFixed(2)) + " " + across;
        }
      });
    });
    svg.addEventListener("pointerleave", () => {
      hover.setAttribute("visibility", "hidden"); readout.textContent = "";
      values.forEach((value) => { value.textContent = ""; });
    });
    return [legend, svg];
  }

  const curves = data.curves;
  if (curves.seconds.length > 1) {
    page.append(section("sharpness", "Sharpness over time",
      make("p", { class: "quiet", text: "Higher is sharper: the self-shift score in dB, with small values at the top. Noise counts as sharpness, so look at the pictures, too. Strokes below mark the key frames." }),
      chart({
        label: "Self-shift score over time, " + before + " and " + after + ": " + data.said[0],
        unit: "dB", across: "seconds", falling: true, marks: data.frames.map((frame) => frame.seconds),
        series: [
          { name: before, x: curves.seconds, y: curves.before, colour: "var(--before)", dash: "7 4" },
          { name: after, x: curves.seconds, y: curves.after, colour: "var(--after)", dash: "" },
        ],
      })));
  }

  /* Scores. */
  const table = (heads, rows, numbers) => make("div", { class: "wide" }, make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((text, column) => make("th", { scope: "col", class: numbers.includes(column) ? "number" : null, text })))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell, column) => {
      const [text, below] = [cell].flat();
      return make(column ? "td" : "th", { scope: column ? null : "row", class: numbers.includes(column) ? "number" : null },
        String(text), ...(below ? [make("small", { text: below })] : []));
    }))))));
  if (data.scores.length) {
    page.append(section("scores", "Numbers", table(["", before, after, "better"],
      data.scores.map((row) => [[row.name, row.over], row.before, row.after, [row.better, row.direction]]), [1, 2])));
  }

  /* The run. */
  const run = data.run;
  if (run) {
    const parts = [make("ul", { class: "said" }, ...run.lines.map((line) => make("li", { text: line })))];
    if (run.differences.length) {
      parts.push(make("h3", { text: "Not as in the input" }),
        make("ul", { class: "said" }, ...run.differences.map((line) => make("li", { text: line }))));
    }
    run.adaptations.forEach((one, index) => {
      const several = run.adaptations.length > 1 ? " " + (index + 1) : "";
      const charts = [];
      if (one.gains.length) {
        charts.push(make("div", {}, make("h3", { text: "Gain while adapting" + several }),
          make("p", { class: "quiet", text: "In dB over the network as it was, on pieces that it does not learn from, by how long their blur is. " + one.kept }),
          chart({ label: "Gain in dB over steps, by length of blur", unit: "dB", across: "steps", series: one.gains, marks: one.best ? [one.best] : [] })));
      }
      if (one.losses.length) {
        charts.push(make("div", {}, make("h3", { text: "Loss of each step" + several }),
          make("p", { class: "quiet", text: "What the network learns from; it jumps from step to step, as the pieces change." }),
          chart({ label: "Loss over steps", unit: "", across: "steps", series: one.losses })));
      }
      parts.push(make("div", { class: "two" }, ...charts));
      if (one.patches.length) {
        const [width, height] = one.size;
        const map = make("svg", { class: "map", viewBox: "0 0 " + width + " " + height, role: "img", "aria-label": "Where the patches lie in the frame" },
          ...(width === data.source[0] && height === data.source[1] ? [make("image", { href: data.frames[0].after, width, height })] : []),
          ...one.patches.map((patch) => make("rect", { x: patch.x, y: patch.y, width: one.side, height: one.side, class: patch.judges ? "judge" : null })));
        parts.push(make("h3", { text: "Patches" + several }),
          make("p", { class: "quiet", text: "The sharpest moment at each place. Solid ones are learnt from, dashed ones only judge." }),
          make("div", { class: "two" }, map, make("details", {}, make("summary", { text: one.patches.length + " patches" }),
            table(["", "x", "y", "frame", "score dB", "contrast dB"],
              one.patches.map((patch, at) => [(patch.judges ? "judges " : "patch ") + (at + 1), patch.x, patch.y, patch.frame, patch.score, patch.contrast]),
              [1, 2, 3, 4, 5]))));
      }
    });
    parts.push(make("details", {}, make("summary", { text: "Run record" }), make("pre", { tabindex: "0", text: JSON.stringify(run.record, null, 2) })));
    page.append(section("run", "How it was made", ...parts));
  }
  draw();
})();
