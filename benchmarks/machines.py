"""One process beside two, for training and for labelling, on photos of three breeds.

Writes `nbs/results/11_scaling.csv`. Run it alone, on an idle machine: `python benchmarks/machines.py` (about
ten minutes on two cores); `cpu` tells what the processes worked, whoever else was busy. Other seeds and
another size: `python benchmarks/machines.py 5 128`"""
import csv, json, os, resource, statistics, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED, STORED = ROOT.parent/'shared', ROOT/'nbs/results/11_scaling.csv'
BIN = Path(sys.executable).parent
MODES = (1,1), (1,2), (2,1)                                     # processes, threads of each
TASKS = dict(train=['--epochs','0'], tune=['--epochs','3'])     # frozen body; body's end trained too
COLUMNS = 'task processes threads seed size photos mb seconds cpu map exact_match load cores'.split()


def photos(folder):
    "Links to 160 photos of each of three breeds"
    for f in sorted((SHARED/'data/oxford-iiit-pet/images').glob('*.jpg')):
        if f.name.startswith(('Abyssinian','Bengal','american_bulldog')): (folder/f.name).symlink_to(f)
    return len(list(folder.iterdir())), sum(f.stat().st_size for f in folder.iterdir())/1e6


def timed(lines, threads):
    "Seconds until commands that were started at the same time have all ended"
    env = dict(os.environ, OMP_NUM_THREADS=str(threads))
    def start(line):
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        return subprocess.Popen(list(map(str, line)), env=env, **pipes)
    started,cpu = time.perf_counter(),children()
    ps = list(map(start, lines))
    outs = [p.communicate() for p in ps]
    seconds,cpu = time.perf_counter()-started,children()-cpu
    for p,(_,err) in zip(ps, outs): assert p.returncode==0, err
    return dict(seconds=round(seconds, 1), cpu=round(cpu, 1)), [out for out,_ in outs]


def children(): return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def train(task, n, threads, seed, size, folder):
    start = [BIN/'mlc_train']
    if n>1: start = [BIN/'torchrun','--standalone','--nproc_per_node',n,'--no-python',*start]
    args = folder/'photos','--out',folder/'model','--seed',seed,'--size',size,*TASKS[task]
    secs,_ = timed([[*start, *args]], threads)
    m = json.loads((folder/'model/config.json').read_text())['metrics']
    return dict(secs, map=m['map'], exact_match=m['exact_match'])


def label(n, threads, folder, said):
    start = [BIN/'mlc_predict', folder/'model', folder/'photos', '--json']
    secs,outs = timed([[*start, '--shard', f'{i+1}/{n}'] for i in range(n)], threads)
    said.append(''.join(outs))
    assert said[0]==said[-1]
    return secs


def measure(seeds, size=260):
    "All runs, a seed after the other, so that a busy moment hits all ways of doing it"
    res = []
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        (folder/'photos').mkdir()
        n_photos,mb = photos(folder/'photos')
        for seed in seeds:
            for task in *TASKS,'label':
                said = []
                for n,threads in MODES:
                    load = os.getloadavg()[0]
                    if task=='label': got = label(n, threads, folder, said)
                    else: got = train(task, n, threads, seed, size, folder)
                    res.append(dict(task=task, processes=n, threads=threads, seed=seed, size=size,
                        photos=n_photos, mb=round(mb, 1), load=round(load, 1), cores=os.cpu_count(), **got))
                    print(*res[-1].values(), flush=True)
    return res


def store(res):
    with open(STORED, 'w', newline='') as f:
        out = csv.DictWriter(f, COLUMNS)
        out.writeheader()
        out.writerows(res)


def rows(n=3, size=260):
    "For each task two processes of one thread beside one process of one thread"
    res = measure(range(n), size)
    store(res)
    def secs(task, processes, threads):
        wanted = task,processes,threads
        return [o['seconds'] for o in res if (o['task'],o['processes'],o['threads'])==wanted]
    def row(task):
        two,one,threads = secs(task, 2, 1),secs(task, 1, 1),secs(task, 1, 2)
        ratios = sorted(b/a for a,b in zip(two, one))
        ours,theirs,best = map(statistics.median, (two, one, threads))
        maps = [o['map'] for o in res if o['task']==task and 'map' in o]
        equal = 'labels equal to the last digit'
        if maps: equal = f'mAP {min(maps):.3f} to {max(maps):.3f} over seeds and processes'
        return dict(row=f'{task}, two processes of one thread beside one', ours=ours, theirs=theirs,
            ratio=theirs/ours, low=ratios[0], high=ratios[-1], bar=None, n=n, equal=equal,
            note=f'one process of two threads: {best:.1f} s; start of Python and torch included')
    return [row(o) for o in (*TASKS,'label')]


if __name__=='__main__':
    line = ('{row}: {ours:.3g} s, theirs {theirs:.3g} s, ratio {ratio:.3g} ({low:.3g} to {high:.3g}), '
        '{equal}; {n} turns; {note}')
    for o in rows(*map(int, sys.argv[1:])): print(line.format(**o))
