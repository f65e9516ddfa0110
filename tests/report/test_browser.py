"""The page in a real browser: Debian's chromium, where there is one."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from chain import run_stages
from made_up_results import params, pixels, results, several, side

from unfreeze.report.comparison import render as render_comparison
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


# What makes the real pages cheap: small images, and the least training that there is.
CHEAP = {
    "decode": {"image_size": 112},
    "model": {"image_size": 96},
    "precompute": {"views": 0},
    "find_lr": {"steps": 20},
    "finetune": {"frozen_cycles": 1, "cycles": 0, "cycle_len": 1, "cycle_mult": 1, "bn_freeze": False},
    "tta": {"views": 1},
    "runtime": {"device": "cpu", "precision": "32"},
}
REAL = {"ants_bees": "photos", "dog_breeds": "csv_labels", "movie_posters": "multi_label"}
"""Archive and recipe."""


def slow(*names: str) -> list:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


def make(name: str, folder: Path, request: pytest.FixtureRequest) -> Path:
    """A page of two classes, of several labels, of very many classes with long names and without features; of the
    cut of the sample, or of a real archive."""
    if name in ("two", "several", "many"):
        if name == "two":
            given, images = results(["cat", "<dog> & 'co'"], 80), pixels(82, 96)
            given.split.loc[80:, ["label", "split"]] = ["cat", "train"]
        elif name == "several":
            given, images = several(), pixels(8)
        else:
            classes = [f"class_{i}_" + "of_a_name_without_a_space" * (i % 3) for i in range(120)]
            given, images = results(classes, 600, wrong=200), pixels(602, 24)
        (folder / "index.html").write_text(render(given, images, params()), encoding="utf-8")
        return folder / "index.html"
    if name == "sample":
        return request.getfixturevalue("small_run") / "results/report/index.html"
    real_data = request.getfixturevalue("real_data")
    weights = str(real_data / "weights/mobilenet_v2-qnnpack-dequantised.pth")
    changes = CHEAP | {
        "model": CHEAP["model"] | {"weights": weights},
        "extract": {"source": str(real_data / f"{name}.7z")},
    }
    run_stages(folder, changes, f"recipes/{REAL[name]}.yaml")
    return folder / "results/report/index.html"


@pytest.fixture(scope="module")
def made() -> dict[str, Path]:
    return {}


@pytest.fixture
def page_of(made, tmp_path_factory, request) -> Callable[[str], Path]:
    """The file of a page by name, made when it is first asked for."""

    def found(name: str) -> Path:
        if name not in made:
            made[name] = make(name, tmp_path_factory.mktemp(name), request)
        return made[name]

    return found


@pytest.fixture
def open_page(browser, page_of) -> Iterator:
    """Opens a page by name; at the end no error may be on its console, and no request have left it."""
    contexts, complaints, requests = [], [], []

    def opened(name: str, width: int = 1280, script: bool = True):
        size = {"width": width, "height": 900}
        file = page_of(name)
        context = browser.new_context(viewport=size, java_script_enabled=script)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("data:", "file:"))] == []


@pytest.mark.parametrize("name", ["two", "several", *slow("many", "sample", *REAL)])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen_and_can_be_read(open_page, name, width):
    page = open_page(name, width)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # Screen by screen: Chromium cannot always take a long page in one picture.
        taken = 0
        height = page.evaluate("document.documentElement.scrollHeight")
        for top in range(0, height, max(900, height // 6)):
            page.evaluate(f"scrollTo({{ top: {top}, behavior: 'instant' }})")
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


def some(elements: list) -> list:
    """At most a dozen from first to last: many classes have hundreds."""
    return elements[:: len(elements) // 12 + 1]


@pytest.mark.parametrize("name", slow("sample", *REAL))
def test_everything_on_a_real_page_works(open_page, page_of, name):
    assert page_of(name).stat().st_size < 8_000_000
    page = open_page(name)
    viewer, status = page.locator("#viewer"), page.locator("#search-status")
    assert page.locator("main img").evaluate_all("images => images.filter((image) => !image.alt)") == []

    for link in page.locator("nav a").all():
        link.click()
        assert page.locator(link.get_attribute("href")).is_visible()
    for summary in some([each for each in page.locator("details > summary").all() if each.is_visible()]):
        before = summary.evaluate("element => element.parentElement.open")
        summary.press("Enter")
        assert summary.evaluate("element => element.parentElement.open") != before
    for image in some(page.locator("ul.gallery:visible > li:first-child img:first-of-type").all()):
        image.press("Enter")
        assert viewer.locator("img").get_attribute("alt") == image.get_attribute("alt")
        assert viewer.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth > 0)")
        page.keyboard.press("Escape")
        assert viewer.is_hidden()

    count = status.text_content().split(" of ")[-1]
    for select in page.locator("#search-form select").all():
        values = select.locator("option").evaluate_all("options => options.map((option) => option.value)")
        assert len(values) > 1
        for value in (values[1], values[-1], values[0]):
            select.select_option(value)
            found = int(status.text_content().split(" of ")[0])
            assert page.locator("#search-found li").count() == min(48, found)
        assert status.text_content() == f"{count.split()[0]} of {count}"
    for cell in some(page.locator(".matrix button, .cells rect").all())[:3]:
        cell.press("Enter")
        assert 0 < int(status.text_content().split(" of ")[0]) < int(count.split()[0])
        assert page.evaluate("document.activeElement.tagName") == "SELECT"

    page.locator("#map-dots").focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    assert viewer.is_visible()
    page.keyboard.press("Escape")
    classes = page.locator("#map-choice select")
    classes.select_option(index=1)
    assert page.locator("#map-dots .dim").count() > 0
    classes.select_option(index=0)
    assert page.locator("#map-dots .dim").count() == 0


def test_a_large_matrix_can_be_used_by_keys(open_page):
    page = open_page("many")
    name, focused = page.locator("#cell-name"), "document.activeElement.dataset.pair"
    cells = page.locator(".cells rect")
    assert page.locator('.cells rect[tabindex="0"]').count() == 1
    pairs = sorted(
        tuple(map(int, cell.split())) for cell in cells.evaluate_all("all => all.map((c) => c.dataset.pair)")
    )
    page.locator('.cells rect[data-pair="0 0"]').focus()
    for step in range(1, 5):
        page.keyboard.press("ArrowRight")
        assert page.evaluate(focused) == "{} {}".format(*pairs[step])
    page.keyboard.press("ArrowLeft")
    at = pairs[3]
    assert page.evaluate(focused) == "{} {}".format(*at)
    page.keyboard.press("ArrowDown")
    below = min((pair for pair in pairs if pair[0] == at[0] + 1), key=lambda pair: abs(pair[1] - at[1]))
    assert page.evaluate(focused) == "{} {}".format(*below)
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused).split()[0] == str(at[0])
    page.keyboard.press("End")
    assert page.evaluate(focused) == "{} {}".format(*pairs[-1])
    page.keyboard.press("ArrowDown")  # there is nothing below
    assert page.evaluate(focused) == "{} {}".format(*pairs[-1])
    page.keyboard.press("Home")
    assert page.locator('.cells rect[tabindex="0"]').count() == 1
    assert name.text_content().startswith("class_0_ → class_0_: ")
    page.keyboard.press("Enter")
    assert page.locator("#search-status").text_content().startswith(f"{name.text_content().split(': ')[1]} of ")


def test_images_of_a_comparison_are_enlarged(browser, tmp_path):
    one, other = side("one", results(["cat", "dog"], 20, wrong=9)), side("two", results(["cat", "dog"], 20))
    rows = {path: i for i, path in enumerate(one.predictions["path"])}
    html = render_comparison(one, other, pixels(20, 96), rows)
    (tmp_path / "index.html").write_text(html, encoding="utf-8")
    page, complaints = browser.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "index.html").as_uri())
    images, viewer = page.locator(".gallery img"), page.locator("#viewer")
    assert images.count() == 6
    images.first.press("Enter")
    page.keyboard.press("ArrowRight")
    assert viewer.locator("img").get_attribute("src") == images.nth(1).get_attribute("src")
    assert (
        "cat/" in viewer.locator(".caption").text_content() or "dog/" in viewer.locator(".caption").text_content()
    )
    page.keyboard.press("Escape")
    assert viewer.is_hidden() and complaints == []
    page.close()


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


def test_another_script_does_not_run(page_of, tmp_path, browser):
    hostile = page_of("two").read_text().replace("<main", "<script>document.title = 'hacked'</script><main", 1)
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
