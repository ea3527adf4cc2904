"""One process beside two, for training and for labelling, on photos of three breeds; writes `nbs/results/11_scaling.csv`.
Run it alone, on an idle machine: `python benchmarks/machines.py` (about ten minutes on two cores); `cpu` tells what the
processes worked, whoever else was busy. Other seeds and another size: `python benchmarks/machines.py 5 128`"""
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
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), TORCH_HOME=os.environ.get('TORCH_HOME', str(SHARED/'weights')))
    t0,cpu = time.perf_counter(),children()
    ps = [subprocess.Popen([*map(str, o)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for o in lines]
    outs = [p.communicate() for p in ps]
    for p,o in zip(ps, outs): assert p.returncode==0, o[1]
    return dict(seconds=round(time.perf_counter()-t0, 1), cpu=round(children()-cpu, 1)), [o[0] for o in outs]


def children(): return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def train(task, n, threads, seed, size, folder):
    start = [BIN/'mlc_train'] if n==1 else [BIN/'torchrun','--standalone','--nproc_per_node',n,'-m','mlc_course.engine.machines']
    secs,_ = timed([[*start, folder/'photos', '--out', folder/'model', '--seed', seed, '--size', size, *TASKS[task]]], threads)
    m = json.loads((folder/'model/config.json').read_text())['metrics']
    return dict(secs, map=m['map'], exact_match=m['exact_match'])


def label(n, threads, folder, said):
    start = [BIN/'mlc_predict', folder/'model', folder/'photos', '--json']
    secs,outs = timed([[*start, '--shard', f'{i+1}/{n}'] for i in range(n)], threads)
    said.append(''.join(outs))
    assert said[0]==said[-1]
    return secs


def measure(seeds, size=224):
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
                    got = label(n, threads, folder, said) if task=='label' else train(task, n, threads, seed, size, folder)
                    res.append(dict(task=task, processes=n, threads=threads, seed=seed, size=size, photos=n_photos, mb=round(mb, 1),
                        load=round(load, 1), cores=os.cpu_count(), **got))
                    print(*res[-1].values(), flush=True)
    return res


def store(res):
    with open(STORED, 'w', newline='') as f:
        out = csv.DictWriter(f, COLUMNS)
        out.writeheader()
        out.writerows(res)


def rows(n=3, size=224):
    "For each task two processes of one thread beside one process of one thread"
    res = measure(range(n), size)
    store(res)
    def secs(task, mode): return [o['seconds'] for o in res if (o['task'],o['processes'],o['threads'])==(task,*mode)]
    def row(task):
        ours,theirs,best = (secs(task, o) for o in ((2,1),(1,1),(1,2)))
        ratios,maps = sorted(b/a for a,b in zip(ours, theirs)),[o['map'] for o in res if o['task']==task and 'map' in o]
        return dict(row=f'{task}, two processes of one thread beside one', ours=statistics.median(ours), theirs=statistics.median(theirs),
            ratio=statistics.median(theirs)/statistics.median(ours), low=ratios[0], high=ratios[-1], bar=None, n=n,
            equal=f'mAP {min(maps):.3f} to {max(maps):.3f} over seeds and processes' if maps else 'labels equal to the last digit',
            note=f'one process of two threads: {statistics.median(best):.1f} s; start of Python and torch included')
    return [row(o) for o in (*TASKS,'label')]


if __name__=='__main__':
    for o in rows(*map(int, sys.argv[1:])): print('{row}: {ours:.3g} s, theirs {theirs:.3g} s, ratio {ratio:.3g} ({low:.3g} to {high:.3g}), {equal}; {n} turns; {note}'.format(**o))
