// The thresholds of pictures, on pages and in reports: what scores below is hidden, and what only that found is missed.

document.addEventListener("input", (event) => {
  const side = event.target.dataset?.threshold;
  if (side === undefined) return;
  const threshold = Number(event.target.value);
  document.getElementById(`threshold-${side}`).textContent = threshold.toFixed(3);
  for (const picture of document.querySelectorAll(`.picture[data-side="${side}"]`)) {
    for (const box of picture.querySelectorAll("[data-score]")) {
      box.toggleAttribute("hidden", Number(box.dataset.score) < threshold);
    }
    for (const object of picture.querySelectorAll("[data-found]")) {
      object.classList.toggle("missed", Number(object.dataset.found) < threshold);
    }
  }
});
