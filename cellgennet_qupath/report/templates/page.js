"use strict";
const galleries = document.querySelectorAll("[data-show]");
for (const input of document.querySelectorAll("input[name=show]")) {
  input.addEventListener("change", () => {
    for (const gallery of galleries) gallery.dataset.show = input.value;
  });
}
for (const select of document.querySelectorAll("select[name=method]")) {
  select.addEventListener("change", () => {
    for (const layer of document.querySelectorAll("[data-method]")) {
      layer.toggleAttribute("hidden", layer.dataset.method !== select.value);
    }
  });
}
