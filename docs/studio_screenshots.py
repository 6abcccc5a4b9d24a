"""Pictures of the studio for docs/: desktop and phone, light and dark, by headless Chromium.

`python docs/studio_screenshots.py [MODEL]` starts a server of its own; the photographs are the starter set's.
"""

import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

REPOSITORY = Path(__file__).parents[1]
TARGET = Path(__file__).parent / "screenshots"
PHOTOS = (
    "photos/monuments-france-chateaudechambord.webp",
    "photos/monuments-monument1.webp",
    "photos/energy-windmill.webp",
)
QUALITY = 82
SHOTS = {
    "studio-desktop-light": ("light", 1360, 860),
    "studio-desktop-dark": ("dark", 1360, 860),
    "studio-phone-light": ("light", 390, 844),
    "studio-phone-dark": ("dark", 390, 844),
}
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def main() -> None:
    """Take all pictures."""
    chromium = shutil.which("chromium") or sys.exit(
        "error: chromium is not installed: apt-get install chromium"
    )
    model = ["--model", sys.argv[1]] if len(sys.argv) > 1 else []
    command = [sys.executable, "-m", "tintlab.cli", "studio", "--port", "0", *model]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as server,
    ):
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[1]
            with zipfile.ZipFile(REPOSITORY / "data" / "starter-photos.zip") as packed:
                files = [packed.extract(name, folder) for name in PHOTOS]
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium, args=QUIET)
                for name, (scheme, width, height) in SHOTS.items():
                    context = browser.new_context(
                        viewport={"width": width, "height": height}, color_scheme=scheme
                    )
                    save(name, prepared(context.new_page(), address, files).screenshot())
                    context.close()
                browser.close()
        finally:
            server.terminate()


def prepared(page: Page, address: str, files: list[str]) -> Page:
    """The page with three photographs, a variant and a hint."""
    page.set_default_timeout(120_000)
    page.goto(address)
    page.set_input_files("#choose", files)
    page.locator("#photos li").nth(len(files) - 1).wait_for()
    page.locator(".variant img[src]").nth(6).wait_for()
    page.locator("#photos img[src]").nth(len(files) - 1).wait_for()
    if page.locator("#place").is_enabled():
        box = page.locator("#canvas").bounding_box()
        assert box
        page.mouse.click(box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"])
        page.locator("#likely .swatch").first.click()
        page.click("#pick-ok")
        page.locator("#hints .marker").wait_for()
    page.locator("#status").evaluate("status => { status.textContent = ''; }")
    page.wait_for_timeout(1500)
    page.evaluate("window.scrollTo(0, 0)")
    return page


def save(name: str, screenshot: bytes) -> None:
    """Write a picture as WebP."""
    picture = TARGET / f"{name}.webp"
    Image.open(io.BytesIO(screenshot)).convert("RGB").save(picture, quality=QUALITY, method=6)
    print(f"{picture} ({picture.stat().st_size // 1000} kB)")


if __name__ == "__main__":
    main()
