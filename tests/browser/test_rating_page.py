"""The page of a visual rating in a real browser; needs chromium and its driver (`make browser-test`)."""

import json
import shutil
import time

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
if not (shutil.which("chromium") and shutil.which("chromedriver")):
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

from benchmarks.rating.__main__ import main  # noqa: E402
from benchmarks.rating.pages import CATEGORIES  # noqa: E402
from qsm_recon.io import save_image  # noqa: E402

SHAPE = (22, 26, 18)
NAMES = ["first.nii.gz", "second.nii.gz", "third.nii.gz"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three maps, the page and its key; what the browser downloads goes to `saved`."""
    folder = tmp_path_factory.mktemp("rating")
    rng = np.random.default_rng(2)
    truth = np.zeros(SHAPE, np.float32)
    truth[4:18, 4:22, 4:14] = -0.03
    truth[12:15, 9:12, 7:10] = 0.2
    for number, name in enumerate(NAMES):
        noise = 0.02 * (number + 1) * rng.standard_normal(SHAPE).astype(np.float32)
        save_image(folder / name, np.where(truth != 0, truth + noise, 0), np.eye(4))
    save_image(folder / "truth.nii.gz", truth, np.eye(4))
    words = [*(str(folder / name) for name in NAMES), "--truth", str(folder / "truth.nii.gz"), "--seed", "5", "--quiet"]
    assert main([*words, "--at", 'a <b> & "c"=10,12,8', "--at", "second place=13,10,8", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def key(folder):
    return json.loads((folder / "key.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def browser(folder):
    options = webdriver.ChromeOptions()
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1000",
        "--host-resolver-rules=MAP * ~NOTFOUND",  # no network
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "saved")})
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield browser
    browser.quit()


@pytest.fixture
def page(browser, folder):
    """The page as a rater opens it for the first time."""
    browser.get((folder / "rating.html").as_uri())
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    wait_for_step(browser, 0)
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser")] == []


def wait_for_step(browser, step):
    WebDriverWait(browser, 10).until(lambda b: b.execute_script("return document.body.dataset.shown") == str(step))


def press(browser, *keys):
    for name in keys:
        browser.find_element(By.TAG_NAME, "body").send_keys(name)


def text(browser, identifier):
    return browser.find_element(By.ID, identifier).text


def dots(browser):
    return [dot.text for dot in browser.find_elements(By.CSS_SELECTOR, "#progress button")]


def pressed(browser):
    return [b.get_attribute("id") for b in browser.find_elements(By.CSS_SELECTOR, "#scores [aria-pressed=true]")]


def pictures(browser):
    return [
        image.get_attribute("src").partition(",")[2] for image in browser.find_elements(By.CSS_SELECTOR, "#views img")
    ]


def content(browser):
    return json.loads(browser.execute_script("return document.getElementById('content').textContent"))


def downloaded(folder, pattern, count=1):
    """Content of the newest download, once it is complete."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = sorted((folder / "saved").glob(pattern), key=lambda path: path.stat().st_mtime_ns)
        if len(found) >= count:
            return json.loads(found[-1].read_text("utf-8")), found[-1]
        time.sleep(0.1)
    raise AssertionError(f"no {pattern} was downloaded")


def test_one_category_at_a_time_in_the_keys_order(page, key):
    images = content(page)["images"]
    for number, (category, order) in enumerate(key["orders"].items()):
        for position, name in enumerate(order):
            step = 3 * number + position
            wait_for_step(page, step)
            assert text(page, "category").lower() == category
            assert f"category {number + 1} of 3 · map {position + 1} of 3" in text(page, "step")
            assert pictures(page) == images[name]
            press(page, Keys.ARROW_RIGHT)
    wait_for_step(page, 8)  # the last one: there is nothing behind it
    for path in NAMES:
        assert path not in page.page_source


def test_digits_rate_and_go_on_and_what_is_rated_can_be_changed(page):
    press(page, "2", "0")
    wait_for_step(page, 2)
    assert dots(page) == ["2", "0", *[""] * 7]
    press(page, "7", "x")  # no scores
    wait_for_step(page, 2)
    press(page, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    wait_for_step(page, 0)
    assert pressed(page) == ["score-2"]
    press(page, "3")
    wait_for_step(page, 1)
    assert dots(page)[:2] == ["3", "0"]
    page.find_element(By.ID, "back").click()
    wait_for_step(page, 0)
    page.find_element(By.ID, "score-1").click()
    wait_for_step(page, 1)
    page.find_elements(By.CSS_SELECTOR, "#progress button")[7].click()
    wait_for_step(page, 7)
    assert dots(page) == ["1", "0", *[""] * 7]


def test_progress_survives_a_reload(page, folder):
    page.find_element(By.ID, "rater").send_keys("Ada 0123")  # digits of a name are no scores
    press(page, "1", "3", "2", "0")
    wait_for_step(page, 4)
    page.get("about:blank")
    page.get((folder / "rating.html").as_uri())
    wait_for_step(page, 4)
    assert dots(page) == ["1", "3", "2", "0", *[""] * 5]
    assert page.find_element(By.ID, "rater").get_attribute("value") == "Ada 0123"


def test_a_name_is_asked_for_before_saving(page, folder):
    shutil.rmtree(folder / "saved", ignore_errors=True)
    press(page, "1")
    page.find_element(By.ID, "save").click()
    assert "name or initials" in text(page, "message")
    time.sleep(0.5)
    assert list(folder.glob("saved/*")) == []


def test_what_was_rated_is_what_is_collected(page, folder, key, capsys):
    """All the way: keys, file, unblinding."""
    scores = "0132" * 3
    page.find_element(By.ID, "rater").send_keys("Żółw & co")
    press(page, *scores[:9])
    assert "All rated" in text(page, "message")
    page.find_element(By.ID, "save").click()
    found, path = downloaded(folder, "rating-Żółw_co-*.json")
    assert "all rated" in text(page, "message")
    expected = {
        category: {name: int(scores[3 * number + i]) for i, name in enumerate(order)}
        for number, (category, order) in enumerate(key["orders"].items())
    }
    assert found["ratings"] == expected
    assert (found["rater"], found["page"], found["complete"]) == ("Żółw & co", key["page"], True)
    assert main(["--collect", str(path), "--out", str(folder), "--quiet"]) == 0
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    by_file = {entry["file"]: entry for entry in summary["maps"]}
    for name, item in key["submissions"].items():
        for category in CATEGORIES:
            assert by_file[item["file"]][category]["mean"] == expected[category][name]
    assert all(entry["metrics"]["nrmse"] > 0 for entry in summary["maps"])
    capsys.readouterr()


def test_a_saved_file_can_be_gone_on_from(page, folder):
    page.find_element(By.ID, "rater").send_keys("Bo")
    press(page, "3", "3")
    page.find_element(By.ID, "save").click()
    found, path = downloaded(folder, "rating-Bo-*.json")
    assert found["complete"] is False
    assert "7 still to rate" in text(page, "message")
    page.execute_script("localStorage.clear()")
    page.refresh()
    wait_for_step(page, 0)
    assert dots(page) == [""] * 9
    page.find_element(By.ID, "load").send_keys(str(path))
    wait_for_step(page, 2)
    assert dots(page) == ["3", "3", *[""] * 7]
    foreign = folder / "foreign.json"
    foreign.write_text(json.dumps({**found, "page": "another"}), "utf-8")
    page.find_element(By.ID, "load").send_keys(str(foreign))
    WebDriverWait(page, 5).until(lambda b: "belongs to another page" in text(b, "message"))
    assert dots(page) == ["3", "3", *[""] * 7]


def test_views_are_to_scale_lettered_and_can_be_enlarged(page, key):
    facts = [view for row in content(page)["views"] for view in row]
    figures = page.find_elements(By.CSS_SELECTOR, "#views figure")
    assert len(figures) == len(facts) == 6
    scales = [figure.size["width"] / view["width"] for figure, view in zip(figures, facts, strict=True)]
    scales += [figure.size["height"] / view["height"] for figure, view in zip(figures, facts, strict=True)]
    assert np.ptp(scales) < 0.05 * np.mean(scales)
    letters = [[span.text for span in figure.find_elements(By.TAG_NAME, "span")] for figure in figures]
    assert letters[:3] == [list("LRPA"), list("LRIS"), list("PAIS")]
    boxes = [span.rect for span in figures[0].find_elements(By.TAG_NAME, "span")]
    assert boxes[0]["x"] < boxes[1]["x"]  # left is on the left
    assert boxes[3]["y"] < boxes[2]["y"]  # anterior on top
    names = [place.text for place in page.find_elements(By.CSS_SELECTOR, ".place > span")]
    assert names == ['a <b> & "c"', "second place"] == list(key["places"])
    assert all(figure.rect["y"] + figure.rect["height"] <= 1000 for figure in figures)
    small = figures[4].size["height"]
    figures[4].click()  # which builds the views anew
    large = page.find_element(By.CSS_SELECTOR, "#large figure")
    assert large.size["height"] > 1.5 * small
    assert large.find_element(By.TAG_NAME, "img").get_attribute("src").endswith(pictures(page)[4])
    press(page, "1")  # rating goes on in the large view
    wait_for_step(page, 1)
    assert page.find_element(By.CSS_SELECTOR, "#large img").get_attribute("src").endswith(pictures(page)[4])
    press(page, Keys.ESCAPE)
    assert page.find_elements(By.CSS_SELECTOR, "#large figure") == []


def test_the_page_asks_for_nothing(page):
    requests = page.execute_script("return performance.getEntriesByType('resource').map((r) => r.name)")
    assert [name for name in requests if not name.startswith(("data:", "blob:"))] == []
