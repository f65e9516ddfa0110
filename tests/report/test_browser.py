"""The page in a real browser: Debian's chromium, where there is one."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up_results import params, pixels, results, several

from unfreeze.report.page import render

CHROMIUM = shutil.which("chromium")
QUIET = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator:
    from playwright.sync_api import sync_playwright

    home = tmp_path_factory.mktemp("home")
    with sync_playwright() as playwright:
        environment = os.environ | {"HOME": str(home)}
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET.split(), env=environment)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """A page of two classes, one of several labels, one of very many classes with long names, without features."""
    folder = tmp_path_factory.mktemp("pages")
    names = [f"class_{i}_" + "of_a_name_without_a_space" * (i % 3) for i in range(120)]
    wide = results(names, 600, wrong=200)
    two = results(["cat", "<dog> & 'co'"], 80)
    trained = [line | {"split": "train", "label": "cat"} for line in two.split[80:]]
    made = {
        "two": (replace(two, split=[*two.split[:80], *trained]), pixels(82, 96)),
        "several": (several(), pixels(8)),
        "many": (wide, pixels(602, 24)),
    }
    for name, (given, images) in made.items():
        (folder / f"{name}.html").write_text(render(given, images, params()), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.fixture
def open_page(browser, pages) -> Iterator:
    """Opens a page by name; at the end no error may be on its console, and no request have left it."""
    contexts, complaints, requests = [], [], []

    def opened(name: str, width: int = 1280, scheme: str = "light", script: bool = True):
        size = {"width": width, "height": 900}
        context = browser.new_context(viewport=size, color_scheme=scheme, java_script_enabled=script)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(pages[name].as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", "file:"))] == []


@pytest.mark.parametrize("name", ["two", "several", "many"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_can_be_read(open_page, name, width, scheme):
    page = open_page(name, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Screen by screen: Chromium cannot always take a long page in one picture.
    taken = 0
    height = page.evaluate("document.documentElement.scrollHeight")
    for top in range(0, height, max(900, height // 12)):
        page.evaluate(f"scrollTo(0, {top})")
        taken += len(page.screenshot())
    assert taken > 50_000
    assert page.evaluate(CONTRASTS) == []


# Text whose contrast with what lies behind it is less than WCAG's 4.5 : 1 (3 : 1 if it is large), but for charts.
CONTRASTS = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => { const [r, g, b] = rgb.map((c) => c / 255).map((c) =>
    c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const bad = [];
  const texts = "p, h1, h2, h3, dt, dd, small, a, summary, figcaption, button";
  for (const element of document.querySelectorAll(texts)) {
    if (!element.textContent.trim() || !element.checkVisibility()) continue;
    let below = element, back = [0, 0, 0, 0];
    while (below && (back.length > 3 && back[3] < 1)) {
      back = channels(getComputedStyle(below).backgroundColor);
      below = below.parentElement;
    }
    const style = getComputedStyle(element);
    const [a, b] = [light(channels(style.color).slice(0, 3)), light(back.slice(0, 3))].sort((x, y) => y - x);
    const needed = parseFloat(style.fontSize) >= 24 ? 3 : 4.5;
    if ((a + 0.05) / (b + 0.05) < needed) bad.push(element.textContent.trim().slice(0, 40) + style.color + back);
  }
  return bad;
}"""


def test_a_cell_of_the_matrix_shows_its_images(open_page):
    page = open_page("two")
    page.locator('td[data-pair="0 1"] button').first.press("Enter")
    assert page.locator("#search-status").text_content() == "2 of 80 images"
    captions = page.locator("#search-found li").all_text_contents()
    assert len(captions) == 2 and all("<dog> & 'co' 80.0%" in text and "is cat 20.0%" in text for text in captions)
    assert page.evaluate("document.activeElement.tagName") == "SELECT"
    page = open_page("many")
    page.locator('rect[data-pair="0 1"]').click()
    assert page.locator("#search-found li").count() == 2


def test_the_search_filters_orders_and_shows_more(open_page):
    page = open_page("two")
    found, status = page.locator("#search-found li"), page.locator("#search-status")
    assert (found.count(), status.text_content()) == (48, "80 of 80 images")
    page.locator("#search-more").click()
    assert found.count() == 80 and page.locator("#search-more").is_hidden()
    selects = page.locator("#search-form select")
    selects.nth(2).select_option("wrong")
    assert status.text_content() == "3 of 80 images"
    selects.nth(0).select_option(label="<dog> & 'co'")
    assert status.text_content() == "1 of 80 images"
    selects.nth(2).select_option("")
    selects.nth(3).select_option("path")
    assert found.first.locator(".path").text_content().endswith("/1.png")


def test_the_search_knows_several_labels(open_page):
    page = open_page("several")
    selects, found = page.locator("#search-form select"), page.locator("#search-found li")
    assert found.count() == 6
    selects.nth(0).select_option(label="<i>owl")
    assert found.count() == 1 and "✗\u00a0<i>owl 95.0%" in found.first.text_content()
    selects.nth(0).select_option("")
    selects.nth(1).select_option(label="missed")
    assert found.count() == 2


def test_an_image_is_enlarged_by_mouse_and_by_keys(open_page):
    page = open_page("two")
    viewer = page.locator("#viewer")
    first, second = (page.locator("#galleries .gallery").first.locator("img").nth(i) for i in (0, 1))
    first.click()
    assert viewer.is_visible()
    assert viewer.locator("img").get_attribute("src") == first.get_attribute("src")
    assert viewer.locator("img").evaluate("image => image.naturalWidth") == 96  # the stored pixels
    page.keyboard.press("ArrowRight")
    assert viewer.locator("img").get_attribute("src") == second.get_attribute("src")
    assert ".png" in viewer.locator(".caption").text_content()
    page.keyboard.press("Escape")
    assert viewer.is_hidden()
    first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert viewer.locator("img").get_attribute("src") == second.get_attribute("src")
    viewer.get_by_label("Previous image").click()
    assert viewer.locator("img").get_attribute("src") == first.get_attribute("src")
    viewer.get_by_label("Close").press("Enter")
    assert viewer.is_hidden()


def test_tab_reaches_each_gallery_once_and_what_is_after_it(open_page):
    page = open_page("two")
    reached = page.evaluate("""() => [...document.querySelectorAll("ul.gallery")].map((gallery) =>
      gallery.querySelectorAll('img[tabindex="0"]').length)""")
    assert set(reached) == {1}
    page.locator("#galleries .gallery img").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.gallery') !== document.querySelector('.gallery')")


def test_a_dot_of_the_map_shows_its_image(open_page):
    page = open_page("two")
    dot, tip = page.locator("#map-dots [data-image]").last, page.locator("#tip")
    assert tip.is_hidden()
    dot.scroll_into_view_if_needed()
    dot.hover(force=True)
    assert tip.is_visible() and ".png" in tip.text_content()
    page.mouse.move(0, 0)
    page.locator("#map-dots").focus()
    page.keyboard.press("ArrowRight")
    assert tip.is_visible()
    page.keyboard.press("Enter")
    assert page.locator("#viewer").is_visible()
    page.keyboard.press("Escape")
    page.locator("#map-choice select").select_option(label="cat")
    assert page.locator("#map-dots .dim").count() == 40


def test_without_its_script_the_page_is_complete(open_page):
    page = open_page("two", script=False)
    assert page.locator("#galleries img").count() >= 20
    assert page.locator('td[data-pair="0 1"]').first.text_content() == "2"
    assert page.locator("#search").is_hidden() and page.locator("#map-dots").is_visible()


def test_another_script_does_not_run(open_page, pages, tmp_path, browser):
    hostile = pages["two"].read_text().replace("<main", "<script>document.title = 'hacked'</script><main", 1)
    (tmp_path / "hostile.html").write_text(hostile)
    page = browser.new_page()
    page.goto((tmp_path / "hostile.html").as_uri())
    assert page.title() != "hacked"
    assert page.locator("#search").is_visible()
    page.close()


def test_it_prints(open_page):
    page = open_page("several")
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden() and page.locator("#search").is_hidden()
    assert page.pdf().startswith(b"%PDF")


def test_pictures_of_the_search_are_those_of_their_images(open_page):
    page = open_page("two")
    sizes = page.locator("#search-found img").evaluate_all("images => images.map((image) => image.naturalWidth)")
    assert np.all(np.array(sizes) == 96)
