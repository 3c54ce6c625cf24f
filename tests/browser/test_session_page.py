"""The page of a tuning session in a real browser; needs chromium and its driver (`make browser-test`)."""

import base64
import io
import re
import shutil

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
if not (shutil.which("chromium") and shutil.which("chromedriver")):
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

from scipy import ndimage  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

from qsm_recon.operators.dipole import DipoleOperator  # noqa: E402
from qsm_recon.operators.grid import Grid  # noqa: E402
from qsm_recon.problem import Problem  # noqa: E402
from qsm_recon.report.tuning import TuningSession  # noqa: E402
from qsm_recon.select.path import sweep_values  # noqa: E402
from qsm_recon.select.session import SessionCase  # noqa: E402
from qsm_recon.select.tune import run_session  # noqa: E402
from qsm_recon.solvers.registry import make_solver  # noqa: E402

SHAPE = (26, 30, 22)
AFFINE = np.diag([-1.0, 1.0, 1.0, 1.0])  # stored from right to left


def problem(seed):
    rng = np.random.default_rng(seed)
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in SHAPE])
    mask = x**2 + y**2 + z**2 < 0.9
    chi = np.where((x - 0.3) ** 2 + (y + 0.2) ** 2 + z**2 < 0.08, 0.15, 0).astype(np.float32)
    field = DipoleOperator(Grid(SHAPE)).forward(chi) + 0.003 * rng.standard_normal(SHAPE).astype(np.float32)
    noise = np.full(SHAPE, 0.003, np.float32)
    return Problem(np.where(mask, field, 0), mask, Grid(SHAPE), field_noise_ppm=noise), chi


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    solver = make_solver("tv")
    problems, truths = zip(*(problem(seed) for seed in (1, 2)), strict=True)
    arguments = ["--field", 'it\'s <here> & "there".nii']  # what a page must not stumble over
    cases = [
        SessionCase.of(name, item, AFFINE, arguments) for name, item in zip(("first", "second"), problems, strict=True)
    ]
    session = TuningSession.open(tmp_path_factory.mktemp("session"), solver, None, cases)

    def score(truth):
        return lambda image: {"nrmse": float(100 * np.linalg.norm(image - truth) / np.linalg.norm(truth))}

    values = sweep_values(solver.resolved(problems[0]), count=8)
    run_session(session, list(problems), values, metrics=[score(truth) for truth in truths])
    session.write_page()
    return session


@pytest.fixture(scope="module")
def page(session):
    options = webdriver.ChromeOptions()
    # No network: every host name fails to resolve, so that anything the page asked for would be an error.
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1400,1500",
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    browser.get((session.folder / "session.html").as_uri())
    wait_until_drawn(browser)
    yield browser
    browser.quit()


@pytest.fixture(autouse=True)
def no_errors(page):
    yield
    messages = [entry["message"] for entry in page.get_log("browser")]
    assert messages == []


def wait_until_drawn(browser, key=None):
    def drawn(b):
        return b.execute_script("return document.body.dataset.drawn") not in (None, "") if key is None else (
            b.execute_script("return document.body.dataset.drawn") == key
        )  # fmt: skip

    WebDriverWait(browser, 20).until(drawn)


def picture(browser, view=0):
    """Grey levels of a view, as drawn."""
    import matplotlib.image

    url = browser.execute_script(f"return document.getElementById('view-{view}').toDataURL('image/png')")
    image = matplotlib.image.imread(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    return np.rint(255 * image[..., 0])


def move(browser, slider, value):
    browser.execute_script(
        "const s = document.getElementById(arguments[0]); s.value = arguments[1];"
        "s.dispatchEvent(new Event('input', {bubbles: true}));",
        slider,
        value,
    )


def text(browser, identifier):
    return browser.find_element(By.ID, identifier).text


def test_the_page_opens_at_the_pick(page, session):
    points = session.of_case(0)
    nearest = np.argmin([abs(np.log(point.value / session.pick().value)) for point in points])
    wait_until_drawn(page, f"0-{nearest}")
    assert f"{session.pick().value:.3g}"[:4] in text(page, "summary")
    assert "NRMSE" in text(page, "value-label")


def test_the_slider_changes_the_picture_and_what_belongs_to_it(page, session):
    move(page, "point", 0)
    wait_until_drawn(page, "0-0")
    weak, command = picture(page), text(page, "command")
    last = len(session.of_case(0)) - 1
    move(page, "point", last)
    wait_until_drawn(page, f"0-{last}")
    strong = picture(page)
    assert np.mean(np.abs(weak - strong)) > 2
    assert weak.std() > strong.std()
    assert text(page, "command") != command
    assert text(page, "command") == session.command(session.of_case(0)[last].value)
    selected = page.find_elements(By.CSS_SELECTOR, "#points tr.selected")
    assert len(selected) == 1
    assert selected[0].text.startswith(f"{session.of_case(0)[last].value:.4g}"[:4])


def test_arrow_keys_step_through_the_maps(page):
    move(page, "point", 3)
    wait_until_drawn(page, "0-3")
    page.find_element(By.ID, "point").send_keys(Keys.ARROW_RIGHT)
    wait_until_drawn(page, "0-4")


def test_the_picture_is_the_map(page, session):
    """Grey levels against the stored map: right on the right, anterior on top."""
    move(page, "point", 2)
    wait_until_drawn(page, "0-2")
    image = session.susceptibility_ppm(session.of_case(0)[2])[::-1]  # the first axis runs to the left
    filled = np.logical_or.reduce([session.susceptibility_ppm(p) != 0 for p in session.of_case(0)])[::-1]
    box = tuple(
        slice(max(index.min() - 1, 0), index.max() + 2)
        for index in (np.flatnonzero(filled.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3))
    )
    image = image[box]
    middle = [n // 2 for n in image.shape]
    expected = np.clip(127.5 + 127 * image[:, :, middle[2]].T[::-1] / 0.1, 0, 255)
    shown = picture(page)
    keep = np.ones(shown.shape, bool)  # all but the cross lines
    keep[shown.shape[0] - 1 - middle[1]] = False
    keep[:, middle[0]] = False
    assert shown.shape == expected.shape
    inside = image[:, :, middle[2]].T[::-1] != 0
    border = ndimage.binary_dilation(inside) & ~inside
    assert np.abs(shown - expected)[keep & ~border].max() <= 2.5  # steps of 8 bit over twice the window
    assert set(shown[keep & border]) == {164}  # the outline, just outside


def test_left_and_right_are_named_and_slices_are_those_of_the_file(page, session):
    letters = [
        [span.text for span in view.find_elements(By.TAG_NAME, "span")]
        for view in page.find_elements(By.CSS_SELECTOR, "#views .view")
    ]
    assert letters == [list("LRPA"), list("LRIS"), list("PAIS")]
    left, right = page.find_elements(By.CSS_SELECTOR, "#views .view:first-child span")[:2]
    assert left.rect["x"] < right.rect["x"]
    filled = np.logical_or.reduce([session.susceptibility_ppm(p) != 0 for p in session.of_case(0)])
    last = np.flatnonzero(filled.any(axis=(1, 2)))[-1]
    move(
        page, "slice-2", 1
    )  # of the sagittal ones; the first axis runs to the left, so the leftmost has the last index
    WebDriverWait(page, 10).until(lambda b: text(b, "caption-2") == f"sagittal, i = {last}")


def test_the_page_says_when_the_map_is_not_at_the_pick(page, session):
    points, pick = session.of_case(0), session.pick()
    nearest = int(np.argmin([abs(np.log(point.value / pick.value)) for point in points]))
    page.find_element(By.ID, "to-pick").click()
    wait_until_drawn(page, f"0-{nearest}")
    assert abs(points[nearest].value / pick.value - 1) > 1e-3
    said = text(page, "shown")
    assert "nearest computed weight" in said
    assert f"{points[nearest].value:.4g}"[:5] in said
    assert f"{pick.value:.4g}"[:5] in said
    move(page, "point", 0)
    wait_until_drawn(page, "0-0")
    assert text(page, "shown").startswith(f"The pick of {pick.method} is")
    # A session whose pick is one of its points says so.
    page.execute_script("session.chosen.value = session.cases[0].points[0].value; show()")
    assert text(page, "shown") == f"This is the map at the pick of {pick.method}."
    page.execute_script("session.chosen.value = arguments[0]; show()", pick.value)


def test_a_click_moves_the_other_views(page):
    before = picture(page, 1)
    page.execute_script("""
        const view = document.getElementById('view-0'), box = view.getBoundingClientRect();
        const clientX = box.left + box.width * .7, clientY = box.top + box.height * .6;
        view.dispatchEvent(new MouseEvent('click', {clientX, clientY, bubbles: true}));""")
    WebDriverWait(page, 10).until(lambda b: not np.array_equal(picture(b, 1), before))


def test_slices_move(page):
    before = picture(page, 2)
    move(page, "slice-2", 3)
    WebDriverWait(page, 10).until(lambda b: not np.array_equal(picture(b, 2), before))


def test_the_window_changes_the_contrast_of_all_views(page):
    move(page, "slice-2", 12)
    move(page, "window", 0.2)
    WebDriverWait(page, 10).until(lambda b: text(b, "window-label") == "0.200")
    wide = [picture(page, view) for view in range(3)]
    move(page, "window", 0.05)
    WebDriverWait(page, 10).until(lambda b: text(b, "window-label") == "0.050")
    for view in range(3):
        WebDriverWait(page, 10).until(lambda b, view=view: picture(b, view).std() > 1.2 * wide[view].std())


def test_the_difference_to_the_neighbour_is_shown(page):
    move(page, "point", 1)
    wait_until_drawn(page, "0-1")
    plain = picture(page)
    page.find_element(By.ID, "difference").click()
    WebDriverWait(page, 10).until(lambda b: not np.array_equal(picture(b), plain))
    assert picture(page).std() > 0
    page.find_element(By.ID, "difference").click()
    WebDriverWait(page, 10).until(lambda b: np.array_equal(picture(b), plain))


def test_the_plots_have_all_points_and_picks(page, session):
    found = [pick for pick in session.picks() if pick.found]
    titles = [item.text for item in page.find_elements(By.CSS_SELECTOR, "#plots svg > text[font-weight='600']")]
    known = session.curve().risk is not None and np.count_nonzero(session.curve().risk > 0) > 1
    assert len(titles) == 4 + known
    assert len(page.find_elements(By.CSS_SELECTOR, "#chart-lcurve circle.point")) == len(session.curve())
    marks = page.find_elements(By.CSS_SELECTOR, "#chart-lcurve circle:has(title)")
    assert len(marks) == len(found)
    assert len(page.find_elements(By.CSS_SELECTOR, "#picks tbody tr")) == len(session.picks())


def test_the_misfit_is_drawn_with_that_of_the_noise(page, session):
    names = [item.text for item in page.find_elements(By.CSS_SELECTOR, "#chart-misfit text.legend")]
    assert names == ["data cost", "noise"]
    paths = page.find_elements(By.CSS_SELECTOR, "#chart-misfit path")
    heights = [page.execute_script("return arguments[0].getBBox()", path) for path in paths]
    assert heights[1]["height"] < 1e-3  # it does not depend on the weight


def test_a_click_on_the_curve_goes_there(page):
    page.find_elements(By.CSS_SELECTOR, "#chart-misfit circle.point")[5].click()
    wait_until_drawn(page, "0-5")


def test_the_other_data_set_can_be_chosen(page):
    page.execute_script(
        "const s = document.getElementById('case'); s.value = '1'; s.dispatchEvent(new Event('change'));"
    )
    WebDriverWait(page, 10).until(
        lambda b: (b.execute_script("return document.body.dataset.drawn") or "").startswith("1-")
    )


def test_the_page_is_small_and_asks_for_nothing(page, session):
    content = (session.folder / "session.html").read_text("utf-8")
    assert len(content) < 30e6
    without_maps = re.sub("[A-Za-z0-9+/]{60,}", "", content)  # base64 may spell any word
    assert "http" not in without_maps.replace("http://www.w3.org/2000/svg", "")
    requests = page.execute_script("return performance.getEntriesByType('resource').map((r) => r.name)")
    assert [name for name in requests if not name.startswith(("data:", "blob:"))] == []


def test_picks_beyond_the_axis_of_a_chart_are_not_drawn(page):
    """The curvature ends before the sweep does, and what a rule picks near its end was drawn over the labels."""
    lines = page.execute_script("""
        const host = document.createElement("div");
        const vertical = [1, 5, 50].map((at) => ({ at, colour: "red" }));
        const series = [{ x: [2, 9], y: [1, 2] }];
        const move = drawChart(host, { title: "", x: "", y: "", logX: true, vertical, series });
        move(5, 1);
        const shown = host.querySelector("circle").getAttribute("visibility");
        move(null, null);
        return [host.querySelectorAll("line[stroke=red]").length, shown,
          host.querySelector("circle").getAttribute("visibility"), interpolate([2, 4], [1, 2], 5)];""")
    assert lines == [1, "visible", "hidden", None]


@pytest.mark.parametrize("width", [320, 700, 1400])
def test_the_page_does_not_run_off_a_narrow_window(page, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
