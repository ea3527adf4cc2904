"A page in Debian's Chromium that nothing may go wrong on, and that asks no other host; skipped without one"
import os, shutil
from pathlib import Path
from urllib.parse import urlsplit
import pytest
from conftest import ROOT

import build_site
from serve import serve_site

LOCAL = {'127.0.0.1', 'localhost', '::1', None} # None: data:, blob: and about:


def shot(page, name):
    "Save what `page` shows as `name`.png in the folder that MLC_SHOTS names, if it does"
    if folder := os.environ.get('MLC_SHOTS'): page.screenshot(path=Path(folder)/f'{name}.png')


@pytest.fixture(name='shot')
def _shot(): return shot


@pytest.fixture(scope='session')
def chromium():
    "Path of the browser"
    for name in 'chromium','chromium-browser','google-chrome':
        path = shutil.which(name)
        if path: return path
    pytest.skip('no Chromium on this machine: apt install chromium')


@pytest.fixture(scope='session')
def browser(chromium):
    "One browser for all tests of this process"
    api = pytest.importorskip('playwright.sync_api', reason='no playwright: pip install playwright')
    args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking']
    with api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=args)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    "A tab of its own profile; `problems` and `outside` must end empty: a test that expects some clears them"
    context = browser.new_context(viewport=dict(width=1280, height=900))
    problems,outside = [],[]
    def asked(o):
        if urlsplit(o.url).hostname not in LOCAL: outside.append(o.url)
    def said(o):
        if o.type=='error': problems.append(f'{o.text} ({o.location["url"]})')
    context.on('page', lambda o: o.on('websocket', asked))
    context.on('request', asked)
    context.on('console', said)
    context.on('weberror', lambda o: problems.append(str(o.error)))
    page = context.new_page()
    page.problems,page.outside = problems,outside
    yield page
    context.close()
    assert not outside, f'asked other hosts: {outside}'
    assert not problems, f'errors in the console: {problems}'


@pytest.fixture(scope='session')
def site_folder(tmp_path_factory):
    "The site: `_site` unless something that it is made from changed since, else one built anew"
    folder = ROOT/'_site'
    if not build_site.is_current(folder):
        work = tmp_path_factory.mktemp('site')
        folder,paths = work/'_site',build_site.notebooks(ROOT/'nbs', ROOT/'none')
        failed = build_site.build(paths, ROOT/'mlc_course', folder, work/'build', build_site.PLAYGROUND,
            build_site.FRAMES)
        if failed: pytest.fail('no site: see `make site`')
    return folder


@pytest.fixture(scope='session')
def site(site_folder):
    "Its address"
    with serve_site(site_folder) as url: yield url


@pytest.fixture
def play(page, site):
    "The playground, with its first picture answered"
    page.goto(f'{site}/playground.html')
    page.wait_for_function('window.playground && playground.seen')
    return page
