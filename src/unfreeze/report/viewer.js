// Images are enlarged; within a gallery one is reached by Tab, the others by the arrows. All text is set as text.
"use strict";
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const large = make("img", { alt: "" });
const caption = make("div", { className: "caption" });
const button = (text, label, step) => {
  const one = make("button", { type: "button", textContent: text, onclick: step });
  one.setAttribute("aria-label", label);
  return one;
};
const before = button("‹", "Previous image", () => turn(-1));
const after = button("›", "Next image", () => turn(1));
const viewer = make("dialog", { id: "viewer" },
  make("div", { className: "bar" }, before, after, button("✕", "Close", () => viewer.close())), large, caption);
viewer.setAttribute("aria-label", "Enlarged image");
document.body.append(viewer);
let album = [], at = 0;

function show(images, index) {
  album = images;
  at = index;
  const image = album[at], item = image.closest("li");
  large.src = image.src;
  large.alt = image.alt;
  caption.replaceChildren(...[...item.querySelectorAll("p")].map((p) => p.cloneNode(true)));
  before.hidden = after.hidden = album.length < 2;
  if (!viewer.open) viewer.showModal();
}
function turn(step) {
  show(album, (at + step + album.length) % album.length);
}
viewer.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") turn(-1);
  if (event.key === "ArrowRight") turn(1);
});
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });

const pictures = (gallery) => [...gallery.querySelectorAll("img")];
function reachable(gallery) {
  pictures(gallery).forEach((image, i) => {
    image.tabIndex = i ? -1 : 0;
    image.setAttribute("role", "button");
  });
}
document.querySelectorAll(".gallery").forEach(reachable);
document.addEventListener("click", (event) => {
  const image = event.target.closest(".gallery img");
  if (image) {
    const all = pictures(image.closest(".gallery"));
    show(all, all.indexOf(image));
  }
});
document.addEventListener("keydown", (event) => {
  const image = event.target.closest(".gallery img");
  if (!image) return;
  const all = pictures(image.closest(".gallery")), i = all.indexOf(image);
  const next = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: all.length - 1 }[event.key];
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    show(all, i);
  } else if (next !== undefined && all[next]) {
    event.preventDefault();
    image.tabIndex = -1;
    all[next].tabIndex = 0;
    all[next].focus();
  }
});
