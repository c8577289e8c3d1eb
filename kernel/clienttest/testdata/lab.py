"""Use a notebook in JupyterLab as a person does, in headless Chromium.

argv: notebook, kernel name, folder for screenshots, chromium, chromedriver. Prints what was
seen, one line for each step; the notebook's last code cell trains until it is stopped.
"""
import json
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

notebook, kernel, shots, chromium, chromedriver = sys.argv[1:]
notebook, shots = pathlib.Path(notebook), pathlib.Path(shots)
shots.mkdir(parents=True, exist_ok=True)

settings = notebook.parent / "settings" / "@jupyterlab"
for name, value in {
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}.items():
    path = settings / f"{name}.jupyterlab-settings"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))

with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
with open(shots / "jupyterlab.log", "w") as log:
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.ip=127.0.0.1",
         "--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True", "--LabApp.expose_app_in_browser=True",
         f"--LabApp.user_settings_dir={settings.parent}", f"--ServerApp.root_dir={notebook.parent}"],
        stdout=log, stderr=log, cwd=notebook.parent)
url = f"http://127.0.0.1:{port}"

options = webdriver.ChromeOptions()
options.binary_location = chromium
for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1400,1100"):
    options.add_argument(flag)
driver = None


def until(what, condition, timeout=60):
    """Wait until the condition holds, and return its value."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            value = condition()
            if value:
                return value
        except Exception:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {timeout} s in vain for {what}")
        time.sleep(0.1)


def js(code, *args):
    return driver.execute_script(code, *args)


PANEL = "const panel = window.jupyterapp.shell.currentWidget; const nb = panel.content;"


def model():
    return js(PANEL + "return nb.model.toJSON()")


def state():
    return js(PANEL + "return panel.sessionContext.session.kernel.status")


def shot(name):
    driver.save_screenshot(str(shots / f"{name}.png"))


def output(cell):
    """The text of what a cell of the page shows."""
    return cell.find_element(By.CSS_SELECTOR, ".jp-Cell-outputWrapper").text


def code_cells():
    return driver.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-CodeCell")


def type_cell(text):
    """Put text into a new cell at the end, and leave the cursor behind it."""
    js(PANEL + "nb.activeCellIndex = nb.widgets.length - 1")
    js("return window.jupyterapp.commands.execute('notebook:insert-cell-below')")
    js("return window.jupyterapp.commands.execute('notebook:enter-edit-mode')")
    editor = until("an editor", lambda: driver.find_element(By.CSS_SELECTOR, ".jp-Notebook .jp-mod-active .cm-content"))
    js("arguments[0].scrollIntoView({block: 'center'})", editor)
    editor.click()
    ActionChains(driver).send_keys(text).perform()
    return code_cells()[-1]


def visible(selector):
    return [e for e in driver.find_elements(By.CSS_SELECTOR, selector) if e.is_displayed()]


def main():
    global driver
    until("the server", lambda: urllib.request.urlopen(url + "/api").status == 200)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=chromedriver))
    driver.get(f"{url}/lab/tree/{notebook.name}")
    until("the notebook", lambda: state() == "idle", 90)
    title = js("return window.jupyterapp.version")
    print("JupyterLab", ".".join(title.split(".")[:2]), flush=True)
    shot("1-opened")

    cells = [c for c in model()["cells"] if c["cell_type"] == "code"]
    js("window.jupyterapp.commands.execute('notebook:run-all-cells')")

    # the last cell trains until it is stopped; its figure changes meanwhile
    last = code_cells()[-1]
    pictures = set()

    def live():
        for image in last.find_elements(By.CSS_SELECTOR, ".jp-OutputArea-output img, .jp-OutputArea-output svg"):
            pictures.add(image.get_attribute("src") or image.get_attribute("outerHTML"))
        return len(pictures) > 2
    until("a plot that changes", live, 180)
    print("busy" if state() == "busy" else state(), "with a live plot", flush=True)
    js("arguments[0].scrollIntoView({block: 'start'})", last)
    shot("2-training")

    driver.find_element(By.CSS_SELECTOR, '.jp-NotebookPanel-toolbar [data-jp-item-name="interrupt"]').click()
    begun = time.monotonic()
    until("the stop", lambda: state() == "idle", 20)
    took = time.monotonic() - begun
    print("stopped in time" if took < 1.5 else f"stopped after {took:.1f} s", flush=True)
    until("its message", lambda: "interrupted" in output(last))
    shot("3-stopped")

    done = [c for c in model()["cells"] if c["cell_type"] == "code"]
    for c in done[:-1]:
        errors = [o for o in c["outputs"] if o["output_type"] == "error"]
        expected = "raises-exception" in c["metadata"].get("tags", [])
        if bool(errors) != expected or c["execution_count"] is None:
            print("cell failed:", "".join(c["source"]), errors, flush=True)
    print(len(cells) == len(done) and len(done) > 5, "all cells ran", flush=True)
    kinds = {m for c in done for o in c["outputs"] for m in o.get("data", {})}
    print(sorted(k for k in kinds if k.startswith(("image/", "text/h"))), flush=True)

    cell = type_cell("lab.AllR")
    ActionChains(driver).send_keys(Keys.TAB).perform()
    until("the completion", lambda: "AllRuns" in cell.text or visible(".jp-Completer"), 20)
    shot("4-tab")
    if visible(".jp-Completer"):
        ActionChains(driver).send_keys(Keys.ENTER).perform()
    print("Tab completes", until("the completed name", lambda: "lab.AllRuns" in cell.text), flush=True)

    ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    tip = until("the tooltip", lambda: visible(".jp-Tooltip"), 20)[0]
    print("Shift-Tab shows", "Runs" in tip.text, flush=True)
    shot("5-shift-tab")
    ActionChains(driver).send_keys(Keys.ESCAPE).perform()

    cell = type_cell('kernel.Input(ctx, "Who? ")')
    ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.ENTER).key_up(Keys.SHIFT).perform()
    box = until("the question", lambda: visible(".jp-Stdin-input"), 20)[0]
    box.send_keys("Ada", Keys.ENTER)
    until("the answer", lambda: any("Ada" in json.dumps(c["outputs"]) for c in model()["cells"] if c["cell_type"] == "code"), 20)
    print("input answered", flush=True)
    shot("6-input")


try:
    main()
except BaseException:
    if driver:
        shot("failed")
    raise
finally:
    if driver:
        driver.quit()
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
