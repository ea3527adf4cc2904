"Execute the chapters into _site/: one progress line each, readable pages, the failing cell's traceback and exit 1 if one fails"
import argparse, os, re, sys, time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter
from traitlets.config import Config

ROOT = Path(__file__).resolve().parent.parent
NBS,SITE = ROOT/'nbs',ROOT/'_site'
ANSI = re.compile(r'\x1b\[[0-9;]*m')


def page(nb, title, up=''):
    "`nb` as one self-contained HTML page without its hidden cells, with links between chapters that lead to pages"
    nb = nbformat.from_dict(nb)
    nb.cells = [c for c in nb.cells if not c.source.startswith(('#| hide', '#| default_exp'))]
    if title!='index': nb.cells.insert(0, nbformat.v4.new_markdown_cell(f'[← The course]({up}index.html)'))
    cfg = Config({'HTMLExporter': dict(embed_images=True, mathjax_url='', require_js_url='', jquery_url='',
        widget_renderer_url='', mermaid_js_url='')})
    nb.metadata['title'] = title
    html,_ = HTMLExporter(config=cfg).from_notebook_node(nb, resources={'metadata': {'name': title, 'path': str(NBS)}})
    html = re.sub(r'<script type="module">(?:(?!</script>).)*mermaid.*?</script>', '', html, flags=re.S) # would ask another host
    return re.sub(r'(href="[\w/.]+)\.ipynb', r'\1.html', html)


def run(path):
    "Execute one chapter; returns its name, its seconds and the traceback if it failed"
    nb,start,error = nbformat.read(path, as_version=4),time.time(),''
    client = NotebookClient(nb, timeout=1200, kernel_name='python3', resources={'metadata': {'path': str(NBS)}},
        extra_arguments=['--IPKernelApp.log_level=40']) # else each kernel warns that it listens on this machine's loopback
    try: client.execute()
    except CellExecutionError as e: error = ANSI.sub('', str(e))
    nbformat.write(nb, SITE/path.name)
    (SITE/f'{path.stem}.html').write_text(page(nb, path.stem), encoding='utf-8')
    return path.stem,time.time()-start,error


def write_solutions():
    "The worked answers as pages, as stored: nbdev-test runs them"
    (SITE/'solutions').mkdir(exist_ok=True)
    for path in sorted((NBS/'solutions').glob('*.ipynb')):
        html = page(nbformat.read(path, as_version=4), path.stem, up='../')
        (SITE/'solutions'/f'{path.stem}.html').write_text(html, encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('chapters', nargs='*', help='names such as 07_unknown; none: the whole course')
    parser.add_argument('--workers', type=int, default=1, help='chapters to run at the same time')
    args = parser.parse_args()
    names = [c.removesuffix('.ipynb') for c in args.chapters]
    paths = [NBS/f'{n}.ipynb' for n in names] or sorted(NBS.glob('*.ipynb'))
    if missing := [p.stem for p in paths if not p.exists()]: sys.exit(f'no such chapter: {" ".join(missing)}')
    SITE.mkdir(exist_ok=True)
    if os.environ.get('MLC_DATA')!='real': # drawn once, not by two chapters at the same time
        from mlc_course import atlas,data
        data.drawn_pets()
        if any(p.stem in ('atlas','10_rare') for p in paths): atlas.drawn_atlas()
    start,failed = time.time(),[]
    print(f'{len(paths)} chapters, {args.workers} at a time', flush=True)
    with ThreadPoolExecutor(args.workers) as pool:
        for done in as_completed([pool.submit(run, p) for p in paths]):
            name,seconds,error = done.result()
            print(f'{name:<16} {seconds:6.1f} s{"  FAILED" if error else ""}', flush=True)
            if error: failed.append(f'\n{name}\n{error}')
    write_solutions()
    print(f'{len(paths)-len(failed)} of {len(paths)} chapters in {time.time()-start:.0f} s. Open _site/index.html')
    if failed: sys.exit('\n'.join(failed))


if __name__ == '__main__': main()
