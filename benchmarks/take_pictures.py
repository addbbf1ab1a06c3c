"""Pictures of the report for the home page: `take_pictures.py RUN` photographs RUN/report.html in headless Chromium and writes
nbs/images/report.jpg (the top of the report) and nbs/images/card.png (1200 x 630 px, shown where a link to the site is shared)."""
import io, shutil, sys
from pathlib import Path
from PIL import Image
from playwright.sync_api import sync_playwright

images = Path(__file__).parent.parent/'nbs'/'images'

def photograph(report, width, height):
    "The top of a page at two pixels per CSS pixel"
    chromium = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=['--no-sandbox', '--disable-gpu', '--disable-background-networking'])
        page = browser.new_page(viewport=dict(width=width, height=height), device_scale_factor=2)
        page.goto(report.resolve().as_uri())
        shot = page.screenshot()
        browser.close()
    return Image.open(io.BytesIO(shot)).convert('RGB')

def main(run):
    report = Path(run)/'report.html'
    if not report.exists(): raise SystemExit(f'{report} is not there; run make study first')
    photograph(report, 1000, 1000).resize((1000, 1000), Image.Resampling.LANCZOS).save(images/'report.jpg', quality=82, optimize=True)
    photograph(report, 1000, 525).resize((1200, 630), Image.Resampling.LANCZOS).quantize(96).save(images/'card.png', optimize=True)

if __name__=='__main__': main(sys.argv[1] if len(sys.argv)>1 else 'runs/demo')
