"Execute the chapters, a line for each, then build the site; exit 1, with the traceback, if a cell fails"
import argparse, os, re, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from mlc_course.ui.course import course_files

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
ON_PHOTOS = os.environ.get('MLC_DATA')=='real'
# The site shows no photos: it is built from the second folder
DONE = ROOT/'build'/('photos' if ON_PHOTOS else 'executed')
FRAMES = ROOT/'build'/'frames' # of the explorers, for the site
LONGEST = ('deeper/silence', 'deeper/simple_rules', '07_unknown', '06_where', 'deeper/hidden_labels',
    '11_ship', '09_counting', '05_train', 'index')
ON_REQUEST = 'deeper/unseen_sets', # four minutes; the site shows it as it is stored
ANSI = re.compile(r'\x1b\[[0-9;]*m')


def name_of(path):
    "A notebook by its path below nbs/, without its ending: engine/core"
    return path.relative_to(NBS).with_suffix('').as_posix()


def moves(path):
    "Does the stored notebook show an explorer?"
    return bool(re.search(r'"\w+\(children=', path.read_text(encoding='utf-8')))


def order(path):
    "The longest come first, so that no core waits for one at the end"
    name = name_of(path)
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def chapters(names):
    "Path of each chapter in `names` (none: lessons, what goes deeper, explorers), the longest first"
    every = {name_of(p): p for p in course_files(NBS, '.ipynb')}
    wanted = [n.removesuffix('.ipynb') for n in names]
    if not wanted:
        wanted = [n for n in every if n.rpartition('/')[0] in ('','deeper') or moves(every[n])]
        wanted = [n for n in wanted if n not in ON_REQUEST]
    missing = [n for n in wanted if n not in every]
    if missing: sys.exit(f'no such chapter: {" ".join(missing)}')
    return sorted((every[n] for n in wanted), key=order)


def run(path):
    "Execute one chapter in its folder; returns its name, its seconds and the traceback if it failed"
    nb,start,error = nbformat.read(path, as_version=4),time.time(),''
    name,folder = name_of(path),dict(path=str(path.parent))
    client = NotebookClient(nb, timeout=1200, kernel_name='python3', resources=dict(metadata=folder),
        extra_arguments=['--IPKernelApp.log_level=40']) # else each kernel warns that it listens on loopback
    try: client.execute()
    except CellExecutionError as e: error = ANSI.sub('', str(e))
    if not error:
        done = DONE/f'{name}.ipynb'
        done.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, done)
    return name,time.time()-start,error


def run_all(paths, workers):
    "Execute `paths`, `workers` at a time; returns what failed"
    start,failed = time.time(),[]
    print(f'{len(paths)} chapters, {workers} at a time', flush=True)
    with ThreadPoolExecutor(workers) as pool:
        for done in as_completed([pool.submit(run, p) for p in paths]):
            name,seconds,error = done.result()
            print(f'{name:<20} {seconds:6.1f} s{"  FAILED" if error else ""}', flush=True)
            if error: failed.append(f'\n{name}\n{error}')
    print(f'{len(paths)-len(failed)} of {len(paths)} chapters in {time.time()-start:.0f} s', flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    what = 'such as 07_unknown or engine/core; none: lessons, deeper/ (unseen_sets by name only), explorers'
    parser.add_argument('chapters', nargs='*', help=what)
    parser.add_argument('--workers', type=int, default=1, help='chapters to run at the same time')
    args = parser.parse_args()
    paths = chapters(args.chapters)
    DONE.mkdir(parents=True, exist_ok=True)
    if not ON_PHOTOS:
        os.environ['MLC_FRAMES'] = str(FRAMES) # kernels read it
        # drawn once, not by two chapters at the same time
        from mlc_course.draw.cells import drawn_atlas
        from mlc_course.draw.datasets import drawn_pets
        drawn_pets()
        if {'draw/cells','10_rare'} & set(map(name_of, paths)): drawn_atlas()
    failed = run_all(paths, args.workers)
    build_site = [sys.executable, ROOT/'tools'/'site'/'build_site.py']
    if ON_PHOTOS: print('On photos: build/photos/ holds the executed notebooks; the site stays without them')
    elif subprocess.run(build_site).returncode: failed.append('the site: see above')
    if failed: sys.exit('\n'.join(failed))


if __name__ == '__main__': main()
