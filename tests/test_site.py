"""The site: it builds, and in a browser its search and its language switch lead where a reader expects."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import element_to_be_clickable, presence_of_element_located
from selenium.webdriver.support.wait import WebDriverWait

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGES = sorted(page.stem for page in (ROOT / "docs").glob("*.md") if not page.stem.endswith(".zh"))
# What readers look for, and the page that must come first.
ENGLISH = {
    "exit code": "command-line",
    "proxy": "waiting",
    "timeout": "waiting",
    "skip existing": "downloads",
    "upload S3": "storing",
    "retry": "waiting",
    "retries": "logging",
    "mock": "testing",
    "why failed": "errors",
    "callback": "webhooks",
    "install": "install",
    "state": "tasks",
    "api key": "index",
    "jupyter": "notebooks",
    "windows": "install",
}
CHINESE = {
    "下载": "downloads",
    "回调": "webhooks",
    "重试": "logging",
    "余额": "errors",
    "模拟器": "testing",
    "进度": "waiting",
    "代理": "waiting",
    "限流": "waiting",
    "密钥": "index",
    "退出码": "command-line",
    "乱码": "command-line",
    "对象存储": "storing",
    "安装": "install",
    "镜像": "install",
    "跳过": "downloads",
    "上传": "storing",
    "状态": "tasks",
    "失败": "errors",
    "证书": "waiting",
    "提交任务": "creating",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, in which a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def base_url(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Iterator[webdriver.Chrome]:
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if None in programs.values():
        pytest.fail("this test needs a browser: apt-get install chromium chromium-driver", pytrace=False)
    monkeypatch.setenv("no_proxy", "*")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs["chromium"])
    for switch in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "no-proxy-server", "window-size=1400,900"):
        options.add_argument(f"--{switch}")
    with webdriver.Chrome(options, webdriver.ChromeService(programs["chromedriver"])) as driver:
        yield driver


def wait_for(browser: webdriver.Chrome, selector: str) -> WebElement:
    """Return an element, once it is there."""
    return WebDriverWait(browser, 20).until(presence_of_element_located((By.CSS_SELECTOR, selector)))


def found(browser: webdriver.Chrome, page: str, word: str) -> list[str]:
    """Search in the page's own box, and return the paths that are found, best first."""
    browser.get(page)
    box = wait_for(browser, "[data-md-component=search-query]")
    box.click()
    box.send_keys(word)
    wait_for(browser, ".md-search-result__item > a")
    links = browser.find_elements(By.CSS_SELECTOR, ".md-search-result__item > a")
    return [urlsplit(link.get_attribute("href") or "").path for link in links]


def switch_to(browser: webdriver.Chrome, language: str) -> str:
    """Use the language switch, and return the path and the language of the page that it leads to."""
    webdriver.ActionChains(browser).move_to_element(wait_for(browser, ".md-header .md-select button")).perform()
    old = wait_for(browser, "html")
    WebDriverWait(browser, 20).until(
        element_to_be_clickable((By.CSS_SELECTOR, f".md-select__link[hreflang={language}]"))
    ).click()
    WebDriverWait(browser, 20).until(lambda driver: driver.find_element(By.CSS_SELECTOR, "html") != old)
    return f"{urlsplit(browser.current_url).path} {wait_for(browser, 'html').get_attribute('lang')}"


def test_the_site_has_each_page_in_both_languages(site: Path) -> None:
    """Each page is there in English and, with Chinese navigation, in Chinese; the reference has the public names."""
    for page in PAGES:
        english = (site / f"{page}.html").read_text(encoding="utf-8")
        chinese = (site / f"zh/{page}.html").read_text(encoding="utf-8")
        assert '<html lang="en"' in english
        assert '<html lang="zh"' in chinese
        assert re.search(r"<h1[^>]*>[^<]*[一-鿿]", chinese), page
        navigation = re.findall(r'class="md-nav__link.*?<span class="md-ellipsis">\s*(.*?)\s*<', chinese, re.DOTALL)
        assert len(navigation) >= len(PAGES)
        for text in (english, chinese):
            loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"?(\S+)|<link[^>]* rel=\"?stylesheet[^>]*", text)
            assert [source for source in loaded if "//" in source] == []
    for name in ("max_retry_after", "TaskTimeoutError", "register"):
        assert name in (site / "reference.html").read_text(encoding="utf-8")
        assert name in (site / "zh/reference.html").read_text(encoding="utf-8")


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("folder", "searches"), [("", ENGLISH), ("/zh", CHINESE)], ids=["English", "Chinese"])
def test_a_search_finds_the_right_page_first(
    base_url: str, browser: webdriver.Chrome, folder: str, searches: dict[str, str]
) -> None:
    """In a browser, a search for what a reader would type finds the right page first, and pages of that language only."""
    results = {word: found(browser, f"{base_url}{folder}/index.html", word) for word in searches}

    assert {word: paths[0] for word, paths in results.items()} == {
        word: f"{folder}/{page}.html" for word, page in searches.items()
    }
    assert {path.startswith("/zh/") for paths in results.values() for path in paths} == {folder == "/zh"}


@pytest.mark.timeout(180)
def test_the_switch_leads_to_the_same_page_in_the_other_language(base_url: str, browser: webdriver.Chrome) -> None:
    """In a browser, the switch leads to the same page in the other language, and nothing comes from another server."""
    browser.get(f"{base_url}/waiting.html")
    chinese = switch_to(browser, "zh")
    english = switch_to(browser, "en")
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")

    assert chinese == "/zh/waiting.html zh"
    assert english == "/waiting.html en"
    assert loaded
    assert [name for name in loaded if not name.startswith(base_url)] == []
