"""Labelling twelve-megapixel JPEGs beside decoding them alone; Ray with two processes beside one process.
Writes `nbs/results/many.csv`, with which the appendix ui/many plans: `python benchmarks/many.py`, alone"""
import csv, os, statistics, subprocess, sys, tempfile, threading, time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import photos
from versus import row, summary

STORED, BIN = photos.ROOT/'nbs/results/many.csv', Path(sys.executable).parent
COLUMNS = 'what photos mb side seconds cpu peak_mb load cores'.split()


def large(folder, n=40):
    "`n` JPEGs of 4000 x 3000 pixels, as phones write them: photos made larger, with the grain of a sensor"
    import numpy as np
    from PIL import Image
    rng = np.random.default_rng(0)
    grain = rng.normal(0, 6, (3000,4000,1)).astype(np.float32)
    for i,f in enumerate(sorted((photos.SHARED/'coco-sample/images').glob('*.jpg'))[:n]):
        img = Image.open(f).convert('RGB').resize((4000,3000), Image.Resampling.BICUBIC)
        a = np.asarray(img, dtype=np.float32)+np.roll(grain, i*53, 0)
        Image.fromarray(a.clip(0, 255).astype(np.uint8)).save(folder/f'{i:03}.jpg', quality=90)
    return sorted(folder.iterdir())


def mb(files): return sum(f.stat().st_size for f in files)/1e6


def noted(what, files, side, fn):
    "Wall time and processor time of one call in this process, as a row of the CSV"
    start,cpu = time.perf_counter(),time.process_time()
    fn()
    res = dict(what=what, photos=len(files), mb=round(mb(files), 1), side=side)
    res |= dict(seconds=round(time.perf_counter()-start, 3), cpu=round(time.process_time()-cpu, 3))
    return res | dict(load=round(os.getloadavg()[0], 1), cores=os.cpu_count())


def decoding(model, n=5):
    "Both by turns, with the same threads; what is decoded is as small as the network allows, then in full"
    import torch
    from PIL import Image
    from mlc_course.classifier import Classifier
    from mlc_course.engine.pictures import open_picture
    clf,stored = Classifier.load(model),[]
    side = clf.config['size']
    def whole(f): Image.open(f).convert('RGB')
    def small(f): open_picture(f, side)
    def each(fn, files):
        with ThreadPoolExecutor(torch.get_num_threads()) as pool: list(pool.map(fn, files))
    with tempfile.TemporaryDirectory() as tmp:
        files = large(Path(tmp))
        ways = dict(label=lambda: clf.predict(files), decode=lambda: each(small, files),
            decode_in_full=lambda: each(whole, files))
        for fn in ways.values(): fn()
        for _ in range(n): stored += [noted(o, files, 4000, fn) for o,fn in ways.items()]
    def of(what, column): return [o[column] for o in stored if o['what']==what]
    def ms(what): return statistics.median(of(what, 'cpu'))/len(files)*1000
    each_mb = stored[0]['mb']/len(files)
    name = f'label {len(files)} twelve-megapixel JPEGs, beside decoding them alone'
    full = statistics.median(of('decode_in_full', 'seconds'))/statistics.median(of('label', 'seconds'))
    note = (f'{each_mb:.1f} MB a photo; processor time {ms("label"):.1f} and {ms("decode"):.1f} ms a photo; '
        f'theirs decodes as ours does, at a quarter of the size; decoding in full takes '
        f'{ms("decode_in_full"):.1f} ms, ratio {full:.2f}')
    timed = summary(of('label', 'seconds'), of('decode', 'seconds'))
    return row(name, timed, .8, 'the same files, the same threads', note),stored


def watched(args, names, cwd):
    "Seconds from start to end of a command, and the most memory that it and what it starts take together"
    import psutil
    process = subprocess.Popen(list(map(str, args)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd=cwd)
    start,most,over = time.perf_counter(),[0],threading.Event()
    def look():
        while not over.wait(.5):
            total = 0
            for o in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                try: total += o.memory_full_info().pss
                except psutil.Error: pass
            most[0] = max(most[0], total/1e6)
    thread = threading.Thread(target=look)
    thread.start()
    try: _,err = process.communicate('\n'.join(map(str, names)))
    finally: over.set()
    thread.join()
    assert process.returncode==0, err
    return time.perf_counter()-start,most[0]


def cluster(model, n_photos=2000, n=3):
    "From start to end, start of Python and of Ray included"
    import pandas as pd
    files = sorted((photos.SHARED/'pascal_2007/train').glob('*.jpg'))
    files = (files*(1+n_photos//len(files)))[:n_photos]
    stored,secs = [],dict(ray=[], one=[])
    with tempfile.TemporaryDirectory() as tmp:
        start = [BIN/'mlc_predict', model, '-', '--parquet']
        ways = dict(ray=lambda i: [*start, f'ray{i}', '--ray', '--actors', 2])
        ways['one'] = lambda i: [*start, f'one{i}']
        for i in range(n):
            for what,line in ways.items():
                seconds,peak = watched(line(i), files, tmp)
                secs[what].append(seconds)
                stored.append(dict(what=what, photos=len(files), mb=round(mb(files), 1), side=500,
                    seconds=round(seconds, 1), peak_mb=round(peak), load=round(os.getloadavg()[0], 1),
                    cores=os.cpu_count()))
                print(stored[-1], flush=True)
        a,b = (pd.read_parquet(Path(tmp, o)) for o in ('ray0','one0'))
        assert a.equals(b)
    def peak(what): return statistics.median(o['peak_mb'] for o in stored if o['what']==what)
    name = f'label {len(files):,} small photos by Ray with two processes, beside one with two threads'
    note = f'from start to end; together they take {peak("ray"):.0f} MB, one {peak("one"):.0f} MB'
    timed = summary(secs['ray'], secs['one'])
    return row(name, timed, None, 'answers and order equal to the last digit', note),stored


def store(rows):
    "The rows of what was measured anew replace the old ones"
    new,old = {o['what'] for o in rows},[]
    if STORED.exists():
        with open(STORED, newline='') as f: old = [o for o in csv.DictReader(f) if o['what'] not in new]
    with open(STORED, 'w', newline='') as f:
        out = csv.DictWriter(f, COLUMNS)
        out.writeheader()
        out.writerows([*old, *rows])


def rows():
    if not photos.SHARED.is_dir():
        print(f'left out, no {photos.SHARED.name}: labelling large photos, and Ray')
        return []
    model = photos.model('six', [f for i,f in enumerate(photos.six_megapixels()) if i%2])
    res = [decoding(model)]
    if find_spec('ray'): res.append(cluster(model))
    else: print('left out, no ray: Ray beside one process')
    store([o for _,stored in res for o in stored])
    return [o for o,_ in res]


if __name__=='__main__':
    for o in rows(): print(o)
