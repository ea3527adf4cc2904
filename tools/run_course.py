"Execute the chapters, a line for each, then build the site; the failing cell's traceback and exit 1 if one fails"
import argparse, os, re, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parent.parent
NBS = ROOT/'nbs'
ON_PHOTOS = os.environ.get('MLC_DATA')=='real'
DONE = ROOT/'build'/('photos' if ON_PHOTOS else 'executed') # the site shows no photos: it is built from the latter
LONGEST = '10_rare','06_where','09_counting','07_unknown','05_train','index'
ANSI = re.compile(r'\x1b\[[0-9;]*m')


def chapters(names):
    "Path of each chapter in `names` (none: all), the longest first, so that no core waits for one at the end"
    paths = [NBS/f'{n.removesuffix(".ipynb")}.ipynb' for n in names] or sorted(NBS.glob('*.ipynb'))
    if missing := [p.stem for p in paths if not p.exists()]: sys.exit(f'no such chapter: {" ".join(missing)}')
    return sorted(paths, key=lambda p: LONGEST.index(p.stem) if p.stem in LONGEST else len(LONGEST))


def run(path):
    "Execute one chapter; returns its name, its seconds and the traceback if it failed"
    nb,start,error = nbformat.read(path, as_version=4),time.time(),''
    client = NotebookClient(nb, timeout=1200, kernel_name='python3', resources={'metadata': {'path': str(NBS)}},
        extra_arguments=['--IPKernelApp.log_level=40']) # else each kernel warns that it listens on loopback
    try: client.execute()
    except CellExecutionError as e: error = ANSI.sub('', str(e))
    if not error: nbformat.write(nb, DONE/path.name)
    return path.stem,time.time()-start,error


def run_all(paths, workers):
    "Execute `paths`, `workers` at a time; returns what failed"
    start,failed = time.time(),[]
    print(f'{len(paths)} chapters, {workers} at a time', flush=True)
    with ThreadPoolExecutor(workers) as pool:
        for done in as_completed([pool.submit(run, p) for p in paths]):
            name,seconds,error = done.result()
            print(f'{name:<16} {seconds:6.1f} s{"  FAILED" if error else ""}', flush=True)
            if error: failed.append(f'\n{name}\n{error}')
    print(f'{len(paths)-len(failed)} of {len(paths)} chapters in {time.time()-start:.0f} s', flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('chapters', nargs='*', help='names such as 07_unknown; none: the whole course')
    parser.add_argument('--workers', type=int, default=1, help='chapters to run at the same time')
    args = parser.parse_args()
    paths = chapters(args.chapters)
    DONE.mkdir(parents=True, exist_ok=True)
    if not ON_PHOTOS: # drawn once, not by two chapters at the same time
        from mlc_course.draw import cells as atlas
        from mlc_course import data
        data.drawn_pets()
        if any(p.stem in ('atlas','10_rare') for p in paths): atlas.drawn_atlas()
    failed = run_all(paths, args.workers)
    build_site = [sys.executable, ROOT/'tools'/'site'/'build_site.py']
    if ON_PHOTOS: print('On photos: build/photos/ holds the executed notebooks; the site stays without them')
    elif subprocess.run(build_site).returncode: failed.append('the site: see above')
    if failed: sys.exit('\n'.join(failed))


if __name__ == '__main__': main()
