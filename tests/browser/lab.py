"JupyterLab as a person uses it: serve a folder, open a chapter, run all its cells, save it"
import json, os, subprocess, sys, time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

SETTINGS = { # every output in the page, cell times in the file, no question and no news at the start
    'notebook-extension/tracker': dict(windowingMode='none', recordTiming=True),
    'apputils-extension/notification': dict(fetchNews='false', checkForUpdates=False)}
PLACES = dict(JUPYTER_CONFIG_DIR='config', JUPYTER_DATA_DIR='data', JUPYTER_RUNTIME_DIR='runtime',
    IPYTHONDIR='ipython', JUPYTERLAB_SETTINGS_DIR='settings', JUPYTERLAB_WORKSPACES_DIR='workspaces')
COMMAND = [sys.executable, '-m', 'jupyterlab', '--no-browser', '--allow-root', '--ip=127.0.0.1', '--port=0',
    '--IdentityProvider.token=', '--ServerApp.disable_check_xsrf=True', '--LabApp.news_url=None',
    '--LabApp.extension_manager=readonly']
IDLE = '.jp-StatusBar-TextItem:has-text("Python 3 (ipykernel) | Idle")'
ENDED = """() => {
    const prompts = Array.from(document.querySelectorAll('.jp-CodeCell .jp-InputPrompt'), o => o.innerText)
    return !prompts.includes('[*]:') && prompts.some(o => /\\d/.test(o))}"""


def wait_for(what, seconds, message):
    "The first true value of `what()`, asked 50 times a second"
    end = time.time()+seconds
    while True:
        res = what()
        if res: return res
        if time.time()>end: raise TimeoutError(message)
        time.sleep(.02)


@contextmanager
def serve_lab(
    folder, # What it shows: a copy of the course, since running and saving changes it
):
    "JupyterLab on 127.0.0.1 without anybody's settings; yields its address"
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        for name,values in SETTINGS.items():
            f = Path(home)/'settings/@jupyterlab'/f'{name}.jupyterlab-settings'
            f.parent.mkdir(parents=True, exist_ok=True)
            f.write_text(json.dumps(values))
        env = os.environ | {k: f'{home}/{v}' for k,v in PLACES.items()} | dict(OMP_NUM_THREADS='1')
        log = Path(home)/'log'
        cmd = [*COMMAND, f'--ServerApp.root_dir={folder}']
        with log.open('w') as out: server = subprocess.Popen(cmd, env=env, stdout=out, stderr=out)
        def address():
            assert server.poll() is None, log.read_text()
            for f in Path(home).glob('runtime/jpserver-*.json'):
                if f.stat().st_size: return json.loads(f.read_text())['url']
        try: yield wait_for(address, 60, 'JupyterLab did not start').rstrip('/')
        finally:
            server.terminate()
            try: server.wait(10)
            except subprocess.TimeoutExpired: server.kill()


def open_chapter(page, url, name):
    "Open notebook `name` and wait until its kernel is there"
    page.goto(f'{url}/lab/workspaces/{name.replace("/", "-")}/tree/{name}.ipynb')
    page.locator(IDLE).wait_for()


def run_all(page, seconds=600):
    "Run > Run All Cells, and wait until they have run or one has failed"
    page.locator('.lm-MenuBar-itemLabel', has_text='Run').first.click()
    page.locator('.lm-Menu-itemLabel', has_text='Run All Cells').first.click()
    page.wait_for_function(ENDED, timeout=1000*seconds, polling=200)


def save(page):
    "Ctrl+S, and wait until it is written"
    def written(o): return o.request.method=='PUT' and '/api/contents/' in o.url
    with page.expect_response(written): page.keyboard.press('Control+s')


def shut_down(page, url):
    "End all kernels, so that their memory returns"
    for o in page.request.get(f'{url}/api/kernels').json():
        page.request.delete(f'{url}/api/kernels/{o["id"]}')
