"Build the site into _site/ from the executed chapters (build/executed/), or stored ones if these are newer"
import json, shutil, subprocess, sys, time
from functools import partial
from pathlib import Path

from fastcore.nbio import write_nb
from nbdev.config import nbpath2html
from PIL import Image, ImageOps

import explorers, glossary, links, llms, pages
from mlc_course.ui.course import course_files

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT/'tools'/'site'
PLAYGROUND,PICTURE = ROOT/'nbs'/'playground',ROOT/'images'/'playground.png'
FRAMES = ROOT/'build'/'frames' # of explorers, drawn while the chapters were executed


def sources_of(path):
    "The text of each cell of the notebook at `path`"
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    return [''.join(c['source']) for c in cells]


def is_fresh(executed, stored):
    "Is `executed` a later run of the same cells?"
    if not executed.exists() or executed.stat().st_mtime < stored.stat().st_mtime: return False
    return sources_of(executed)==sources_of(stored)


def in_order(name):
    "Lessons first, then the folders in the order of the front page, then the answers"
    folder = name.rpartition('/')[0]
    known = ['', *pages.FOLDERS, 'solutions']
    place = known.index(folder) if folder in known else len(known)
    return place,name


def notebooks(nbs, executed):
    "Path of each page's notebook by its name, which has its folder: executed if up to date, else as stored"
    stored = {p.relative_to(nbs).with_suffix('').as_posix(): p for p in course_files(nbs, '.ipynb')}
    paths = {}
    for name in sorted(stored, key=in_order):
        new = executed/f'{name}.ipynb'
        paths[name] = new if is_fresh(new, stored[name]) else stored[name]
    return paths


def write_playground(folder, src):
    "The page that `folder` holds the parts of, what it loads, and its picture for the front page"
    from mlc_course.ui.playground import page_data # here, for only the playground needs it
    assets = src/'_static'/'playground'
    assets.mkdir()
    (assets/'data.js').write_text(page_data(folder), encoding='utf-8')
    parts = 'playground.css','tour.css','network.js','playground.js','tour.js'
    for name in parts: shutil.copy(folder/name, assets)
    fragment = (folder/'page.html').read_text(encoding='utf-8')
    (src/'playground.md').write_text(pages.playground(fragment), encoding='utf-8')
    if not PICTURE.exists(): return
    shown = ImageOps.fit(Image.open(PICTURE).convert('RGB'), (480,240), centering=(.5,0))
    shown.save(src/'_static'/'playground.webp', quality=85)


def write_sources(paths, src, package, playground, frames):
    "Everything that Sphinx reads, into the new folder `src`"
    shutil.copytree(HERE/'static', src/'_static')
    frames = explorers.Frames(frames, src/'_static'/'frames')
    for folder in 'solutions','api': (src/folder).mkdir(parents=True)
    made = {}
    for name,p in paths.items():
        made[name] = pages.page(p, partial(frames.html, root='../'*name.count('/')))
    print(frames.report())
    solutions = {name.split('/')[1]: nb for name,nb in made.items() if name.startswith('solutions/')}
    chapters = {name: nb for name,nb in made.items() if not name.startswith('solutions/')}
    for name,nb in chapters.items():
        if not pages.is_lesson(name) or not pages.pictures(nb): continue
        thumbnail = pages.thumbnail(nb, *pages.THUMBS.get(name, ()))
        thumbnail.save(src/'_static'/f'{name}.webp', quality=85)
    modules = pages.sources(package, list(chapters))
    if playground: write_playground(playground, src)
    has_picture = (src/'_static'/'playground.webp').exists()
    pages.front(chapters['index'], chapters, bool(playground), has_picture)
    if 'glossary' in chapters:
        terms = glossary.entries(chapters['glossary'])
        (src/'glossary.json').write_text(json.dumps(terms), encoding='utf-8')
    for name,nb in made.items():
        pages.link_playground(nb, bool(playground))
        page,download = src/f'{name}.ipynb',src/'extra'/'notebooks'/f'{name}.ipynb'
        twin = src/'extra'/f'{nbpath2html(f"{name}.ipynb")}.md'
        for o in page,download,twin: o.parent.mkdir(parents=True, exist_ok=True)
        twin.write_text(pages.markdown(nb), encoding='utf-8')
        if name=='glossary': glossary.with_anchors(nb)
        if pages.is_lesson(name): pages.read_mark(nb)
        write_nb(nb, page)
        shutil.copy(paths[name], download)
    for module,chapter in modules.items():
        code = (package/f'{module.replace(".", "/")}.py').read_text(encoding='utf-8')
        text = pages.api(module, chapter, chapters[chapter], code)
        (src/'api'/f'{module}.rst').write_text(text, encoding='utf-8')
    (src/'extra'/'llms.txt').write_text(llms.listing(chapters, modules, package), encoding='utf-8')
    (src/'api'/'index.md').write_text(pages.api_index(modules, chapters), encoding='utf-8')
    (src/'solutions'/'index.md').write_text(pages.answers(solutions), encoding='utf-8')


def build(paths, package, site, work, playground=None, frames=None):
    """Pages of the notebooks `paths` and the folder `playground` into `site`, by way of `work`; exit code.
    The folder `frames` has what explorers drew"""
    shutil.rmtree(work, ignore_errors=True)
    if playground and not (playground/'page.html').exists():
        print(f'The site stays without a playground: no {playground/"page.html"}')
        playground = None
    write_sources(paths, work/'src', package, playground, frames)
    sphinx = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-j', 'auto', '-c', HERE]
    folders = [f'-Dhtml_static_path={work}/src/_static', f'-Dhtml_extra_path={work}/src/extra']
    code = subprocess.run([*sphinx, *folders, '-d', work/'doctrees', work/'src', work/'html']).returncode
    if code: return code
    (work/'html'/'.nojekyll').touch() # else GitHub Pages leaves out folders such as _static
    n,wrong = links.faults(work/'html')
    for line in wrong: print(line)
    if wrong: return 1
    shutil.rmtree(site, ignore_errors=True)
    shutil.move(work/'html', site)
    print(f'{len(list(site.rglob("*.html")))} pages, {n} links checked')
    return 0


def is_current(site):
    "Was `site` built after the last change of what it is made from?"
    parts = [p for o in ('nbs','mlc_course','tools/site') for p in (ROOT/o).rglob('*.*')] + [PICTURE]
    hidden = lambda p: any(o.startswith(('.','__pycache__')) for o in p.relative_to(ROOT).parts)
    changed = [p.stat().st_mtime for p in parts if p.is_file() and not hidden(p)]
    front = site/'index.html'
    return front.exists() and front.stat().st_mtime>max(changed)


def main():
    start = time.time()
    paths = notebooks(ROOT/'nbs', ROOT/'build'/'executed')
    code = build(paths, ROOT/'mlc_course', ROOT/'_site', ROOT/'build'/'site', PLAYGROUND, FRAMES)
    if not code: print(f'The site in {time.time()-start:.0f} s: open _site/index.html')
    sys.exit(code)


if __name__ == '__main__': main()
