"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const number = (value) => (value === null ? "not measured" : value.toFixed(3));

  function offer(select, all, values) {
    for (const [value, text] of [["", all], ...values]) {
      const option = document.createElement("option");
      option.value = value;
      option.textContent = text;
      select.append(option);
    }
  }

  function distinct(key) {
    return [...new Set(data.items.map((item) => item[key]))].sort((a, b) => a - b);
  }

  function row(list, name, value) {
    const div = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    div.append(dt, dd);
    list.append(div);
  }

  function picture(img, uri, alt) {
    img.src = uri;
    img.alt = alt;
    img.onload = () => img.classList.toggle("pixels", Math.max(img.naturalWidth, img.naturalHeight) < 64);
  }

  function rivals(item, index) {
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    const pictures = Object.keys(item.rejected).length > 0;
    for (const text of [...(pictures ? [""] : []), "candidate", "score", "valid", "seed"]) {
      const th = document.createElement("th");
      th.textContent = text;
      head.append(th);
    }
    const body = table.createTBody();
    item.candidates.forEach(([seed, score, valid], i) => {
      const tr = body.insertRow();
      if (pictures) {
        const cell = tr.insertCell(), uri = i === item.chosen ? data.images[index] : data.rejected[item.rejected[i]];
        if (uri) {
          const img = document.createElement("img");
          picture(img, uri, `candidate ${i + 1}`);
          cell.append(img);
        }
      }
      const kept = i === item.chosen ? `${i + 1}, kept` : `${i + 1}`;
      const cells = [kept, score === null ? "–" : number(score), valid === null ? "–" : valid ? "yes" : "no", seed ?? "–"];
      for (const text of cells) tr.insertCell().textContent = text;
    });
    return table;
  }

  function show(index) {
    const item = data.items[index], name = data.classes[item.label];
    at("detail-title").textContent = `${name}, increment ${item.increment}, image ${item.slot + 1} (${item.method})`;
    picture(at("own"), data.images[index], `synthetic image of class ${name}`);
    at("own-caption").textContent = item.source === null ? "synthetic" : `real, number ${item.source} of the training set`;
    at("near").hidden = !item.near;
    if (item.near) {
      const [place, label, distance] = item.near;
      picture(at("real"), data.real[place], `real image of class ${data.classes[label]}`);
      at("real-caption").textContent = `nearest real image: class ${data.classes[label]}, distance ${distance.toFixed(3)}`;
    }
    const facts = at("facts");
    facts.replaceChildren();
    row(facts, "learnability score", number(item.score));
    row(facts, "learner's loss, nats", number(item.learner_loss));
    row(facts, "reference's loss, nats", number(item.reference_loss));
    row(facts, "valid by the reference", item.valid === null ? "not evaluated" : item.valid ? "yes" : "no");
    if (item.named) row(facts, "the judge sees", `${data.classes[item.named[0]]}; its own class with probability ${item.named[1].toFixed(2)}`);
    row(facts, "seed", item.candidates[item.chosen][0] ?? "none: a real image");
    at("rivals").replaceChildren(rivals(item, index));
    at("rivals").hidden = item.candidates.length < 2;
    at("detail").showModal();
  }

  function draw() {
    const method = at("by-method").value, label = at("by-class").value, increment = at("by-increment").value;
    const kept = data.items.map((item, index) => [item, index]).filter(([item]) =>
      (method === "" || item.method === method) &&
      (label === "" || item.label === Number(label)) &&
      (increment === "" || item.increment === Number(increment)));
    const order = at("by-order").value;
    if (order !== "made") {
      const sign = order === "high" ? -1 : 1;
      const key = ([item]) => order === "doubtful" ? item.named[1] : order === "near" ? item.near[2] : item.score === null ? Infinity : sign * item.score;
      kept.sort((a, b) => { const x = key(a), y = key(b); return x === y ? 0 : x < y ? -1 : 1; });
    }
    at("grid").replaceChildren(...kept.map(([item, index]) => {
      const button = document.createElement("button"), img = document.createElement("img");
      button.type = "button";
      button.dataset.index = index;
      button.title = `${data.classes[item.label]}, increment ${item.increment}`;
      if (item.named && item.named[0] !== item.label) {
        button.classList.add("doubtful");
        button.title += `; the judge sees ${data.classes[item.named[0]]}`;
      }
      img.loading = "lazy";
      picture(img, data.images[index], button.title);
      button.append(img);
      return button;
    }));
    at("count").textContent = `${kept.length} of ${data.items.length} images`;
  }

  function wall() {
    const table = at("wall-table"), head = table.createTHead().insertRow(), body = table.createTBody();
    const title = (text, colour) => {
      const th = document.createElement("th");
      if (colour) {
        const dot = document.createElement("i");
        dot.className = "swatch";
        dot.style.background = colour;
        th.append(dot);
      }
      th.append(text);
      head.append(th);
    };
    title("class");
    title("real images");
    data.methods.forEach((name, i) => title(name, data.colours[i]));
    const fill = (cell, uris, alt) => {
      for (const uri of uris) {
        const img = document.createElement("img");
        img.loading = "lazy";
        picture(img, uri, alt);
        cell.append(img);
      }
    };
    data.wall.forEach((real, label) => {
      const tr = body.insertRow(), th = document.createElement("th"), name = data.classes[label];
      th.scope = "row";
      th.textContent = name;
      tr.append(th);
      fill(tr.insertCell(), real.map((place) => data.real[place]), `real image of class ${name}`);
      for (const method of data.methods) {
        const own = data.images.filter((_, i) => data.items[i].method === method && data.items[i].label === label);
        fill(tr.insertCell(), own.slice(0, Math.max(1, real.length)), `${method}, class ${name}`);
      }
    });
  }

  if (data.wall.length) wall();
  offer(at("by-method"), "all", data.methods.map((name) => [name, name]));
  offer(at("by-class"), "all", distinct("label").map((label) => [label, data.classes[label]]));
  offer(at("by-increment"), "all", distinct("increment").map((k) => [k, k]));
  at("filters").addEventListener("change", draw);
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("grid").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) show(Number(button.dataset.index));
  });
  at("close").addEventListener("click", () => at("detail").close());
  at("detail").addEventListener("click", (event) => { if (event.target === at("detail")) at("detail").close(); });
  draw();
})();
