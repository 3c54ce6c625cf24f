"""The page of a run in a real browser; needs chromium and its driver (`make browser-test`)."""

import base64
import io
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_allclose

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
if not (shutil.which("chromium") and shutil.which("chromedriver")):
    pytest.skip("chromium and chromedriver are not installed", allow_module_level=True)

from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

from qsm_recon import run as run_module  # noqa: E402
from qsm_recon.io import save_image  # noqa: E402
from qsm_recon.operators.dipole import DipoleOperator  # noqa: E402
from qsm_recon.operators.grid import Grid  # noqa: E402

SHAPE = (22, 26, 30)  # stored from superior to inferior, from right to left and from anterior to posterior
HOSTILE = 'it\'s <img src=x onerror=alert(1)> & "there".nii.gz'
VIEWS = {0: (2, 0, 1), 1: (1, 0, 2), 2: (0, 1, 2)}  # world axes cut, to the right, upwards


def oblique_affine():
    c, s = np.cos(np.radians(15)), np.sin(np.radians(15))
    axes = (
        np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[0, -1, 0], [0, 0, -1], [-1, 0, 0]]) * (2.0, 1.5, 1.0)
    )
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = (25, 20, 17)
    return affine


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs: a complete one, and one without magnitude that stops early and whose file has a hostile name."""
    folder = tmp_path_factory.mktemp("page")
    rng = np.random.default_rng(3)
    affine = oblique_affine()
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in SHAPE])
    mask = x**2 + y**2 + z**2 < 0.9
    chi = np.where((x - 0.3) ** 2 + (y + 0.2) ** 2 + z**2 < 0.08, 0.15, 0) + 0.02 * rng.standard_normal(SHAPE)
    chi = np.where(mask, chi, 0).astype(np.float32)
    field = DipoleOperator(Grid.from_affine(SHAPE, affine)).forward(chi)
    images = {"field": field, "mask": mask, "truth": chi, "magnitude": 100 + 10 * rng.standard_normal(SHAPE)}
    for name, image in images.items():
        save_image(folder / f"{name}.nii.gz", image if image.dtype == bool else image.astype(np.float32), affine)
    shutil.copy(folder / "field.nii.gz", folder / HOSTILE)
    common = ("--field-unit", "ppm", "--mask", str(folder / "mask.nii.gz"), "--html", "--quiet")
    more = ("--magnitude", str(folder / "magnitude.nii.gz"), "--truth", str(folder / "truth.nii.gz"))
    whole = ("--field", str(folder / "field.nii.gz"), *common, *more, "--algo", "tkd", "--out", str(folder / "whole"))
    assert run_module.main(list(whole)) == 0
    early = ("--field", str(folder / HOSTILE), *common, "--algo", "tv", "--set", "max_iterations=4")
    assert run_module.main([*early, "--out", str(folder / "early")]) == 3
    return folder


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    # No network: every host name fails to resolve, so that anything the page asked for would be an error.  And no
    # graphics processor nor a substitute for one.
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-3d-apis", "--disable-dev-shm-usage",
        "--window-size=1400,1300", "--host-resolver-rules=MAP * ~NOTFOUND",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield browser
    browser.quit()


@pytest.fixture
def whole(browser, folder):
    return opened(browser, folder / "whole")


@pytest.fixture(autouse=True)
def no_errors(browser):
    yield
    messages = [entry["message"] for entry in browser.get_log("browser")]
    assert messages == []


def opened(browser, folder):
    browser.get((folder / "report.html").as_uri())
    WebDriverWait(browser, 60).until(lambda b: b.execute_script("return document.body.dataset.drawn"))
    return browser


def text(browser, identifier):
    return browser.find_element(By.ID, identifier).text


def voxel(browser):
    return tuple(int(n) for n in text(browser, "voxel").split(","))


def place(browser):
    return np.array([float(n) for n in text(browser, "place").split(",")])


def value(browser, key):
    return float(browser.find_element(By.ID, f"value-{key}").get_attribute("data-value") or "nan")


def click(browser, key, view, right, up):
    """Click into a view at shares of its width, from the left, and of its height, from the bottom."""
    canvas = browser.find_element(By.ID, f"view-{key}-{view}")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    size = canvas.size
    offset = (round((right - 0.5) * size["width"]), round((0.5 - up) * size["height"]))
    ActionChains(browser).move_to_element_with_offset(canvas, *offset).click().perform()
    browser.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


def drawn_after(browser, action):
    before = browser.execute_script("return document.body.dataset.drawn")
    action()
    WebDriverWait(browser, 20).until(lambda b: b.execute_script("return document.body.dataset.drawn") != before)


def picture(browser, key, view):
    """Grey levels of a view, as drawn, and their opacity; row by row from the top."""
    import matplotlib.image

    url = browser.execute_script(f"return document.getElementById('view-{key}-{view}').toDataURL('image/png')")
    image = np.rint(255 * matplotlib.image.imread(io.BytesIO(base64.b64decode(url.partition(",")[2]))))
    return image[..., 0], image[..., 3]


def crosshair(browser, key, view):
    """Column and row of a view that its crosshair is at."""
    image, _ = picture(browser, key, view)
    shares = browser.execute_script(
        "const s = document.getElementById(arguments[0]).parentElement.style;"
        "return ['--x', '--y'].map((name) => parseFloat(s.getPropertyValue(name)) / 100)",
        f"view-{key}-{view}",
    )
    column, row = (share * length - 0.5 for share, length in zip(shares, image.shape[::-1], strict=True))
    assert (column, row) == pytest.approx((round(column), round(row)), abs=1e-2)
    return round(column), round(row)


def files(folder):
    names = {"chi": "whole/chi.nii.gz", "field": "field.nii.gz", "magnitude": "magnitude.nii.gz"}
    return {key: np.asarray(nibabel.load(folder / name).dataobj) for key, name in names.items()}


@pytest.mark.parametrize(("key", "view"), [("chi", 0), ("field", 1), ("magnitude", 2)])
def test_one_crosshair_in_all_views_with_the_files_values(whole, folder, key, view):
    before = voxel(whole)
    click(whole, key, view, 0.62, 0.41)
    here, affine = voxel(whole), oblique_affine()
    assert sum(a != b for a, b in zip(here, before, strict=True)) == 2  # the slice of the view itself stays
    assert_allclose(place(whole), (affine @ [*here, 1])[:3], atol=0.051)
    steps = {image["key"]: image for image in json.loads(whole.execute_script("return content.textContent"))["images"]}
    maps = files(folder)
    for name, image in maps.items():
        assert value(whole, name) == pytest.approx(float(image[here]), abs=0.5001 * steps[name]["step"])
        window = steps[name]["half"]
        grey = np.clip(127.5 + 127.5 * (value(whole, name) - steps[name]["centre"]) / window, 0, 255)
        for other in range(3):
            column, row = crosshair(whole, name, other)
            shown, opaque = picture(whole, name, other)
            assert opaque[row, column] == 255
            assert shown[row, column] == pytest.approx(grey, abs=0.6)
    # and the views agree on where that is
    for other in range(3):
        assert len({crosshair(whole, name, other) for name in maps}) == 1
    assert crosshair(whole, "chi", 0)[0] == crosshair(whole, "chi", 1)[0]  # left and right
    assert crosshair(whole, "chi", 1)[1] == crosshair(whole, "chi", 2)[1]  # superior and inferior


def test_every_slice_is_that_of_the_file(whole, folder):
    """The whole axial view, with black where the window ends and nothing outside the mask."""
    chi = files(folder)["chi"]
    mask = np.asarray(nibabel.load(folder / "mask.nii.gz").dataobj) > 0
    here = voxel(whole)
    # axis 0 of the file runs to inferior, 1 to the left, 2 to posterior; the view shows anterior up, the right right
    expected, inside = (np.flip(image[here[0]], 0).T for image in (chi, mask))
    shown, opaque = picture(whole, "chi", 0)
    offset = [(a - b) // 2 for a, b in zip(shown.shape, expected.shape, strict=True)]
    assert offset == [0, 0]
    assert ((opaque == 255) == inside).all()
    assert_allclose(shown[inside], np.clip(127.5 + 1275 * expected[inside], 0, 255), atol=1)


def test_letters_are_right_for_the_affine(whole):
    letters = {0: "LRPA", 1: "LRIS", 2: "PAIS"}
    for view, expected in letters.items():
        found = [
            whole.find_element(By.CSS_SELECTOR, f"#row-chi .plane-{view} b.{side}").text
            for side in ("left", "right", "bottom", "top")
        ]
        assert "".join(found) == expected
    for view, (_, right, up) in VIEWS.items():
        click(whole, "chi", view, 0.5, 0.5)
        middle = place(whole)
        click(whole, "chi", view, 0.75, 0.5)
        assert place(whole)[right] > middle[right] + 3
        click(whole, "chi", view, 0.75, 0.75)
        assert place(whole)[up] > middle[up] + 3
        click(whole, "chi", view, 0.5, 0.5)


def test_outside_the_mask_there_is_no_value_but_a_magnitude(whole):
    click(whole, "magnitude", 0, 0.02, 0.02)
    assert text(whole, "value-chi") == "outside the mask"
    assert text(whole, "value-field") == "outside the mask"
    assert text(whole, "value-magnitude").endswith(" a.u.")


def test_keys_wheel_and_sliders_move_it(whole):
    click(whole, "chi", 0, 0.5, 0.5)
    canvas = whole.find_element(By.ID, "view-chi-0")
    start, column = place(whole), crosshair(whole, "field", 1)[0]
    drawn_after(whole, lambda: canvas.send_keys(Keys.ARROW_RIGHT))
    assert crosshair(whole, "field", 1)[0] == column + 1
    drawn_after(whole, lambda: canvas.send_keys(Keys.ARROW_LEFT))
    drawn_after(whole, lambda: canvas.send_keys(Keys.PAGE_UP))
    assert place(whole)[2] == pytest.approx(start[2] + 2, abs=0.11)
    drawn_after(whole, lambda: wheel(whole, canvas, 100))
    assert_allclose(place(whole), start, atol=0.051)
    slider = "const s = document.getElementById('slice-0'); s.value = 3; s.dispatchEvent(new Event('input'))"
    drawn_after(whole, lambda: whole.execute_script(slider))
    assert crosshair(whole, "magnitude", 0)[0] == 3


def wheel(browser, canvas, amount):
    browser.execute_script(
        "arguments[0].dispatchEvent(new WheelEvent('wheel', {deltaY: arguments[1], bubbles: true, cancelable: true}))",
        canvas,
        amount,
    )


def test_the_grey_window_of_one_image(whole):
    wide, other = picture(whole, "chi", 0)[0], picture(whole, "field", 0)[0]
    script = "const s = document.getElementById('half-chi'); s.value = 0.02; s.dispatchEvent(new Event('input'))"
    whole.execute_script(script)
    WebDriverWait(whole, 20).until(lambda b: picture(b, "chi", 0)[0].std() > 1.2 * wide.std())
    whole.execute_script(script.replace("half-chi", "level-chi").replace("0.02", "9"))
    WebDriverWait(whole, 20).until(lambda b: picture(b, "chi", 0)[0].max() == 0)
    assert np.array_equal(picture(whole, "field", 0)[0], other)
    whole.find_element(By.ID, "reset").click()
    WebDriverWait(whole, 20).until(lambda b: np.array_equal(picture(b, "chi", 0)[0], wide))


def test_planes_and_images_can_be_chosen(whole):
    def shown():
        return [c.get_attribute("id") for c in whole.find_elements(By.CSS_SELECTOR, "canvas") if c.is_displayed()]

    assert shown() == [f"view-{key}-{view}" for key in ("chi", "field", "magnitude") for view in range(3)]
    whole.find_element(By.CSS_SELECTOR, "input[name=plane][value='1']").click()
    whole.find_element(By.ID, "show-error").click()
    WebDriverWait(whole, 20).until(
        lambda _: shown() == [f"view-{key}-1" for key in ("chi", "field", "magnitude", "error")]
    )
    assert picture(whole, "error", 1)[0].std() > 1


def test_the_command_is_copied(whole, folder):
    record = json.loads((folder / "whole" / "report.json").read_text())
    whole.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardReadWrite"]})
    whole.find_element(By.ID, "copy").click()
    WebDriverWait(whole, 20).until(lambda b: text(b, "copy") == "copied")
    # pasted into a field of the page, as a user would
    whole.execute_script("document.body.append(Object.assign(document.createElement('textarea'), {id: 'paste'}))")
    box = whole.find_element(By.ID, "paste")
    box.send_keys(Keys.CONTROL, "v")
    assert box.get_attribute("value") == record["run"]["command_line"]


def test_without_magnitude_and_not_converged(browser, folder):
    page = opened(browser, folder / "early")
    assert [r.get_attribute("id") for r in page.find_elements(By.CSS_SELECTOR, ".row")] == ["row-chi", "row-field"]
    assert text(page, "warnings").startswith("Warning\nNot converged: the iteration limit was reached")
    assert page.find_element(By.CSS_SELECTOR, "h1 .state").text == "NOT CONVERGED"
    assert HOSTILE.removesuffix(".nii.gz") in page.find_element(By.TAG_NAME, "h1").text
    assert page.find_elements(By.CSS_SELECTOR, "img[src='x']") == []
    assert HOSTILE in text(page, "account")


def test_nothing_is_fetched(whole, folder):
    requests = whole.execute_script("return performance.getEntriesByType('resource').map((r) => r.name)")
    assert [name for name in requests if not name.startswith(("data:", "blob:"))] == []
    for image in whole.find_elements(By.TAG_NAME, "img"):
        assert whole.execute_script("return arguments[0].naturalWidth", image) > 300
    assert Path(folder / "whole" / "report.html").stat().st_size < 2e6


def test_a_browser_that_cannot_unpack_says_so(browser, folder):
    script = browser.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": "delete window.DecompressionStream"}
    )
    try:
        browser.get((folder / "whole" / "report.html").as_uri())
        WebDriverWait(browser, 20).until(lambda b: "cannot unpack the images" in text(b, "no-viewer"))
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    assert not browser.find_element(By.ID, "viewer").is_displayed()
    assert "Closed form" in text(browser, "account")


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_nothing_sticks_out_at_any_width(browser, folder, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page = opened(browser, folder / "whole")
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
